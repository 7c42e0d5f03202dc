"""Pages of the site that are made of the code: reference, datasets, cards of the weights."""

import importlib
import io
import pkgutil
import re
import tokenize
from pathlib import Path

import configs.base
import cosup_jax
import tfds_builders
from cosup_jax import ranges, weights

ROOT = Path(__file__).parents[1]
GENERATED = "generated"
# Links to files that have a page of their own here; those to other files become their names.
_OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+([^)#]+)(#[^)]*)?\)")


def write(source: Path) -> None:
    """Writes all of them into the folder `generated` of the site's source."""
    folder = source / GENERATED
    folder.mkdir(exist_ok=True)
    (folder / "configuration.md").write_text(configuration())
    for name in tfds_builders.available():
        text = included(f"tfds_builders/{name}/README.md")
        (folder / f"data_{name}.md").write_text(f"# {name}\n\n{text}")
    for name in (*weights.names(), weights.LUNGS):
        (folder / f"weights_{name}.md").write_text(included(f"cosup_jax/weights/{name}.md"))
    for room, modules in rooms().items():
        (folder / f"api_{room}.md").write_text(api(room, modules))


def included(file: str) -> str:
    """Returns a page that is a file of the repository."""
    return f"```{{include}} ../../{file}\n```\n"


def lead_inside(app, page: str, source: list[str]) -> None:
    """Changes links that leave docs/: to the page that the site has instead, or to plain text."""
    up = "../" * page.count("/")

    def inside(link: re.Match[str]) -> str:
        text, file, _ = link.groups()
        for pattern, name in (
            (r"tfds_builders/(\w+)/README\.md", "data"),
            (r"cosup_jax/weights/([\w-]+)\.md", "weights"),
        ):
            if found := re.fullmatch(pattern, file):
                return f"[{text}]({up}{GENERATED}/{name}_{found[1]}.md)"
        return f"{text} (`{file}`)" if (ROOT / file).exists() else link[0]

    source[0] = _OUTSIDE.sub(inside, source[0])


def configuration() -> str:
    """Returns the page of all fields: value in the paper's run, range, and what base.py says."""
    said = comments()
    lines = [
        "# Fields of a configuration",
        "",
        "The values are those of `configs/base.py`, which every configuration starts from; each is",
        "set with `--config.FIELD=VALUE`. A value outside of its range is refused before anything",
        "is built.",
        "",
        "| field | value | what it is, and may be |",
        "| --- | --- | --- |",
    ]
    for name, value in ranges.flat(configs.base.get_config()):
        known = ranges.range_of(name)
        words = "; ".join(filter(None, (said.get(name), known and known.words)))
        lines.append(f"| `{name}` | `{value!r}` | {words} |")
    return "\n".join(lines) + "\n"


def comments() -> dict[str, str]:
    """Returns what configs/base.py says of each field: beside it, or in the lines above it."""
    text = Path(configs.base.__file__).read_text()
    beside = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    found, above = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        if field := re.match(r"    config\.([\w.]+) = (?!ConfigDict)", line):
            found[field[1]] = " ".join(above) or beside.get(number, "")
            above = []
        elif line.strip().startswith("#"):
            above.append(beside[number])
        elif not line.strip():
            above = []
    return found


def skip_numbered(app, what, name, member, skip, options) -> bool | None:
    """Leaves out the fields of named tuples, which say their number alone, of autodoc's members."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field") else None


def show_code(app, what, name, member, options, lines: list[str]) -> None:
    """Makes code of what a module's docstring indents."""
    if what != "module":
        return
    shown, inside = [], False
    for i, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not inside and not (i and lines[i - 1].strip()):
            shown += ["::", ""]
        inside = indented or (inside and not line.strip())
        shown.append(line)
    lines[:] = shown


def rooms() -> dict[str, list[str]]:
    """Returns the public modules of each room, and of the package itself under its own name."""
    found: dict[str, list[str]] = {"cosup_jax": ["cosup_jax"]}
    for module in pkgutil.walk_packages(cosup_jax.__path__, "cosup_jax."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            importlib.import_module(module.name)
            room = module.name.split(".")[1]
            inside = module.ispkg or module.name.count(".") > 1
            found.setdefault(room if inside else "cosup_jax", []).append(module.name)
    return found


def api(room: str, modules: list[str]) -> str:
    """Returns the page of a room, from its docstrings."""
    lines = [f"# {room}", ""]
    for name in modules:
        package = hasattr(importlib.import_module(name), "__path__")
        if name not in (room, f"cosup_jax.{room}"):
            lines += [f"## {name.removeprefix('cosup_jax.')}", ""]
        # What a package offers is described where it is written.
        members = [] if package else ["   :members:"]
        lines += ["```{eval-rst}", f".. automodule:: {name}", *members, "```", ""]
    return "\n".join(lines)
