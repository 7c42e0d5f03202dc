"""The walls of the house that no linter knows: who may name what, and what lies where."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN_TIME = ("cosup_jax", "tfds_builders", "configs", "train.py")
ALL_CODE = (*RUN_TIME, "tests", "benchmarks", ".ci")
OWN = {"cosup_jax", "tfds_builders", "configs", "train", "tests"}
TOP_LEVEL = {
    ".ci",
    ".gitignore",
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
DISTRIBUTIONS = {"PIL": "pillow", "absl": "absl-py", "orbax": "orbax-checkpoint"}
# Declared although nothing imports them yet, each with its reason.
NOT_IMPORTED_YET = {
    "chex": "shape assertions at the borders of the pure functions",
    "nibabel": "the reader of NIfTI volumes (cosup_jax/data/volumes.py) comes with their datasets",
}
DEVICE_FILE = "cosup_jax/training/parallel.py"
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
MEDICAL_FILE = "cosup_jax/data/volumes.py"
MEDICAL_READERS = {"SimpleITK", "highdicom", "nibabel", "pydicom"}


def python_files(*places: str) -> list[Path]:
    """All Python files of some places of the repository."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return found


def each_file(*places: str):
    """One test case per file, named after it."""
    files = python_files(*places)
    return pytest.mark.parametrize("path", files, ids=[name_of(file) for file in files])


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
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                yield f"axis_name={node.value.value!r}"


@each_file(*ALL_CODE)
def test_a_file_is_short_enough_to_be_read_at_once(path):
    allowed = 320 if name_of(path).startswith("tests/") else 300
    assert len(path.read_text().splitlines()) <= allowed


@each_file(*RUN_TIME)
def test_only_one_file_knows_about_devices(path):
    if name_of(path) != DEVICE_FILE:
        assert list(device_words(path.read_text())) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("step = jax.pmap(f)", ["pmap"]),
        ("n = len(jax.devices())", ["devices"]),
        ("from jax.sharding import Mesh", ["Mesh"]),
        ("norm(axis_name='devices')", ["axis_name='devices'"]),
        ('"""Works under pmap, on jax.devices()."""\nnorm(axis_name=axis_name); setup.devices', []),
    ],
)
def test_words_about_devices_are_found_in_code_and_not_in_prose(source, words):
    assert list(device_words(source)) == words


@each_file(*RUN_TIME)
def test_only_one_file_opens_medical_files(path):
    if name_of(path) != MEDICAL_FILE:
        assert not imported(path) & MEDICAL_READERS


@each_file(*ALL_CODE)
def test_nothing_imports_tensorflow_or_pytorch(path):
    assert not imported(path) & {"tensorflow", "torch"}


@each_file(*ALL_CODE)
def test_nothing_is_left_to_be_done(path):
    marks = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3))
    assert re.findall(rf"\b({marks})\b", path.read_text()) == []


def test_dependencies_are_those_that_are_imported():
    needed = third_party(*RUN_TIME)
    declared = requirements("dependencies")
    assert needed <= declared, f"imported but not declared: {needed - declared}"
    assert declared - needed == set(NOT_IMPORTED_YET), "declared, but not imported (or excused)"


def test_tests_and_benchmarks_import_what_the_dev_extra_brings():
    declared = requirements("dependencies") | requirements("dev")
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
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line


MARKDOWN = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not set(path.relative_to(ROOT).parts) & {".venv", "node_modules", "runs", "build"}
    and not any(part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts)
]


@pytest.mark.parametrize("path", MARKDOWN, ids=[name_of(path) for path in MARKDOWN])
def test_links_of_a_page_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'\b(?:src|href)="([^"]+)"', text)
    files = [t.partition("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]
    assert [t for t in files if not (path.parent / t).exists()] == []


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
    """`.ci/run` reads the command out of the README by the way it begins; there must be one."""
    (start,) = re.findall(r"^start='(.*)'$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    lines = (ROOT / "README.md").read_text().splitlines()
    (command,) = (line for line in lines if line.startswith(start))
    assert len(command.split(" && ")) == 3
    assert command.endswith("-m pytest")
