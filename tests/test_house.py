"""The walls of the house that no linter knows: who may name what, and what lies where."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs

ROOT = Path(__file__).resolve().parents[1]
RUN_TIME = ("cosup_jax", "tfds_builders", "configs", "train.py")
ALL_CODE = (*RUN_TIME, "tests", "benchmarks", ".ci")
OWN = {"cosup_jax", "tfds_builders", "configs", "train", "tests", "benchmarks"}
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "benchmarks",
    "configs",
    "cosup_jax",
    "docs",
    "pyproject.toml",
    "tests",
    "tfds_builders",
    "train.py",
}
# Where the name of an import is not that of its distribution.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "py_sod_metrics": "pysodmetrics",
    "PIL": "pillow",
    "gdcm": "python-gdcm",
    "absl": "absl-py",
    "orbax": "orbax-checkpoint",
}
# Declared although nothing here imports them, each with its reason.
NOT_IMPORTED = {
    "flatbuffers": "jax.export imports it and does not declare it",
    "importlib-resources": "tensorflow-datasets imports it and does not declare it",
}
# What the dev extra brings for the oldest Python only (tests/needs.py).
OLDEST_ONLY = "; python_version < '3.12'"
# Of one version, because it is what speeds are compared with.
PINNED = {f"torch==2.13.0{OLDEST_ONLY}"}
# Imported only where the extra that brings it is asked for, each by the one who asks.
ON_DEMAND = {"apache-beam", "highdicom", "jax2onnx", "pydicom"}
DEVICE_FILE = "cosup_jax/devices.py"
DEVICE_NAMES = {
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "device_count",
    "local_device_count",
    "local_devices",
    "make_mesh",
    "pmap",
    "shard_map",
}
# `geometry` computes orientations only.
MEDICAL_FILES = (
    "cosup_jax/scans/nifti.py",
    "cosup_jax/scans/nifti_place.py",
    "cosup_jax/scans/nifti_write.py",
    "cosup_jax/scans/geometry.py",
    "cosup_jax/scans/labels.py",
    "cosup_jax/scans/dicom.py",
    "cosup_jax/scans/dicom_frames.py",
    "cosup_jax/scans/dicom_headers.py",
    "cosup_jax/scans/dicom_read.py",
    "cosup_jax/scans/dicom_pixels.py",
    "cosup_jax/scans/dicom_seg.py",
    "cosup_jax/scans/dicom_drawing.py",
)
MEDICAL_READERS = {"SimpleITK", "highdicom", "nibabel", "pydicom"}


def python_files(*places: str) -> list[Path]:
    """All Python files of some places of the repository."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Top-level names of all a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def device_words(source: str) -> Iterator[str]:
    """Yields what a source says of devices, meshes and axis names; prose does not count."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            of_jax = isinstance(node.value, ast.Name) and node.value.id == "jax"
            if node.attr in DEVICE_NAMES or (of_jax and node.attr == "devices"):
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (a.name for a in node.names if a.name in DEVICE_NAMES)
        elif isinstance(node, ast.keyword) and node.arg == "axis_name":
            yield from re.findall("^'.+", ast.unparse(node.value))


def offenders(
    rule: Callable[[Path], Any], *places: str, but: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What a rule finds wrong, by file; the files of which it does not hold are left out."""
    paths = [path for path in python_files(*places) if name_of(path) not in but]
    found = {name_of(path): rule(path) for path in paths}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_every_file_is_short_enough_to_be_read_at_once():
    def lines(path):
        return len(path.read_text().splitlines())

    assert offenders(lambda p: lines(p) > 300 and lines(p), *RUN_TIME, "benchmarks", ".ci") == {}
    assert offenders(lambda p: lines(p) > 320 and lines(p), "tests") == {}


def test_only_one_file_knows_about_devices():
    assert list(device_words((ROOT / DEVICE_FILE).read_text()))
    assert (
        offenders(lambda p: list(device_words(p.read_text())), *RUN_TIME, but=(DEVICE_FILE,)) == {}
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("step = jax.pmap(f)", ["pmap"]),
        ("n = len(jax.devices())", ["devices"]),
        ("from jax.sharding import Mesh", ["Mesh"]),
        ("norm(axis_name='devices')", ["'devices'"]),
        ('"""Works under pmap, on jax.devices()."""\nnorm(axis_name=axis_name); setup.devices', []),
    ],
)
def test_words_about_devices_are_found_in_code_and_not_in_prose(source, words):
    assert list(device_words(source)) == words


def test_medical_files_are_opened_in_one_place():
    assert offenders(lambda p: imported(p) & MEDICAL_READERS, *RUN_TIME, but=MEDICAL_FILES) == {}


def test_nothing_imports_tensorflow_and_only_tests_and_benchmarks_import_pytorch():
    assert offenders(lambda p: imported(p) & {"tensorflow"}, *ALL_CODE) == {}
    assert offenders(lambda p: imported(p) & {"torch"}, *RUN_TIME, ".ci") == {}


def test_nothing_is_left_to_be_done():
    marks = re.compile("|".join((r"\bTO" + "DO", r"\bFIX" + "ME", r"\bX" + "XX")))
    assert offenders(lambda p: marks.findall(p.read_text()), *ALL_CODE) == {}


def test_dependencies_are_those_that_are_imported():
    needed = third_party(*RUN_TIME) - ON_DEMAND
    declared = requirements("dependencies")
    assert needed <= declared, f"imported but not declared: {needed - declared}"
    assert declared - needed == set(NOT_IMPORTED), "declared, but not imported (or excused)"


def test_tests_and_benchmarks_import_what_extras_bring():
    declared = requirements("dependencies") | requirements("dev") | requirements("onnx")
    assert third_party("tests", "benchmarks", ".ci") <= declared


def third_party(*places: str) -> set[str]:
    """Names of the distributions some places import."""
    names = set().union(*(imported(path) for path in python_files(*places)))
    neighbours = {path.stem for path in python_files("tests", "benchmarks")}
    names -= OWN | neighbours | set(sys.stdlib_module_names)
    return {DISTRIBUTIONS.get(name, name).replace("_", "-").lower() for name in names}


def requirements(group: str) -> set[str]:
    """Names of the distributions pyproject.toml declares, `dependencies` or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project[group] if group in project else project["optional-dependencies"][group]
    return {re.split(r"[\[<>=!~; ]", line)[0].replace("_", "-").lower() for line in lines}


def test_every_dependency_has_a_lower_bound_and_none_an_upper_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dev = set(project["optional-dependencies"]["dev"])
    assert dev >= PINNED
    for line in [*project["dependencies"], *(x.removesuffix(OLDEST_ONLY) for x in dev - PINNED)]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line


def test_tests_are_skipped_where_the_dev_extra_leaves_something_out_and_there_only():
    """What has a marker is asked of `needs`, and the oldest Python has all of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dev = project["optional-dependencies"]["dev"]
    partly = {re.split("[>=]", line)[0] for line in dev if line.endswith(OLDEST_ONLY)}
    assert partly == {DISTRIBUTIONS.get(name, name) for name in needs.OLDEST_ONLY}
    assert offenders(lambda p: imported(p) & needs.OLDEST_ONLY, "tests") == {}
    assert project["requires-python"] == ">={}.{}".format(*needs.OLDEST)


def test_links_of_every_page_lead_somewhere():
    pages = [*ROOT.glob("*.md")]
    for place in TOP_LEVEL - {".ci", ".github"}:
        pages += (ROOT / place).rglob("*.md")
    broken = {name_of(page): dead for page in pages if (dead := dead_links(page))}
    assert broken == {}


def dead_links(page: Path) -> list[str]:
    """The relative links of a page, outside of code, at whose end no file is."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'\b(?:src|href)="([^"]+)"', text)
    files = [t.partition("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]
    # Those of generated pages are there once the site is built (docs/pages.py).
    written = [t for t in files if "generated" not in Path(t).parts]
    return [t for t in written if not (page.parent / t).exists()]


def test_the_top_level_holds_what_it_should_and_no_more():
    git = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if git.returncode or not git.stdout:
        pytest.skip(f"needs a git checkout: {git.stderr.strip() or 'no tracked files'}")
    tracked = {name.partition("/")[0] for name in git.stdout.split("\0") if name}
    assert tracked <= TOP_LEVEL, f"should not be here: {sorted(tracked - TOP_LEVEL)}"
    assert [name for name in sorted(TOP_LEVEL) if not (ROOT / name).exists()] == []


def test_ci_runs_the_test_command_of_the_readme():
    """`.ci/run` finds the command in the README by how it begins, so there must be just one."""
    stages = (ROOT / ".ci/stages.sh").read_text()
    (setup,) = re.findall(r"^setup='(.*)'$", stages, re.MULTILINE)
    commands = re.findall(r"^```bash\n(.*)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE)
    begun = [command for command in commands if command.startswith(setup)]
    assert begun == [f"{setup} && .venv/bin/python -m pytest"]


def test_a_commit_is_checked_by_the_linters_of_ci():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    stages = re.findall(r"^stage '(lint|format|types|walls)' (.*)$", "\n".join(lines), re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"id: (\w+)\n.*\n +entry: (.*)", hooks) == stages
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert re.findall(r"- run: (.*)", workflow) == ["bash .ci/run"]


def test_every_package_is_in_the_wheel():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    there = {
        name_of(path.parent).replace("/", ".")
        for top in ("cosup_jax", "tfds_builders")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(tools["packages"]) == there | {"cosup_jax.configs"}
    assert tools["package-dir"] == {"cosup_jax.configs": "configs"}


def test_package_and_citation_are_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    top = dict(line.split(": ", 1) for line in lines if re.match(r"[a-z-]+: ", line))
    assert (top["version"], top["license"]) == (project["version"], project["license"])
    assert top.keys() >= {"cff-version", "message", "title"}
    assert "authors:" in lines
    assert f'__version__ = "{project["version"]}"' in (ROOT / "cosup_jax/__init__.py").read_text()
