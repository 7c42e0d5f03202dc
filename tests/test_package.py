"""What is in the wheel, and what an import brings in. A stage of .ci/run installs and uses it."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("cosup_jax", "tfds_builders")
DATASETS = sorted(
    path.parent.name for path in (ROOT / "tfds_builders").glob("*/*_dataset_builder.py")
)
_NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.pyc")
_NOT_AT_THE_TOP = {"build", "dist", "runs", "docs"}


def not_source(folder: str, names: list[str]) -> set[str]:
    """What of a folder of the repository no wheel is built from."""
    top = _NOT_AT_THE_TOP if Path(folder) == ROOT else set()
    return _NOT_SOURCE(folder, names) | (top & set(names))


def run(command: Sequence[str | Path], folder: Path, path: Sequence[str | Path] = ()) -> str:
    """Runs a command elsewhere with PYTHONPATH set to `path`, and returns what it printed."""
    # pip itself uses what is deprecated.
    mine = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONWARNINGS": ""}
    environment = {**os.environ, **mine}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built from a copy of the repository so that nothing is written into it."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=not_source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    run([*build, tmp_path / "dist", source], tmp_path)
    (built,) = (tmp_path / "dist").iterdir()
    return built


def files_of_source() -> set[str]:
    """What the wheel should hold: all of cosup_jax and configs, of the builders what TFDS reads."""
    wanted = set()
    for package in SHIPPED:
        for path in (ROOT / package).rglob("*"):
            text = path.name in ("README.md", "CITATIONS.bib", "TAGS.txt", "checksums.tsv")
            if path.suffix == ".py" or text or package == "cosup_jax":
                wanted.add(path)
    found = {
        path.relative_to(ROOT).as_posix()
        for path in wanted
        if path.is_file() and "__pycache__" not in path.parts
    }
    return found | {f"cosup_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata_name,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(metadata_name))
    info = metadata_name.rpartition("/")[0]
    assert {n for n in names if not n.startswith(f"{info}/")} == files_of_source()
    assert f"{info}/licenses/LICENSE" in names
    for dataset in DATASETS:
        for name in ("README.md", "CITATIONS.bib", "TAGS.txt"):
            assert f"tfds_builders/{dataset}/{name}" in names
    always = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert not [r for r in always if r.startswith(("tensorflow-cpu", "tensorflow>", "torch"))]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("cosup_jax", ("jax", "flax", "numpy", "tensorflow_datasets")),
        ("cosup_jax.commands.predict", ("jax", "flax", "tensorflow", "torch")),
        ("tfds_builders", ("jax", "flax", "tensorflow", "torch")),
        ("cosup_jax.data.pipeline", ("flax", "tensorflow", "torch")),
        ("cosup_jax.models", ("tensorflow_datasets", "grain", "tensorflow", "torch")),
        ("cosup_jax.experiments.trials", ("tensorflow", "torch")),
        ("cosup_jax.commands.train", ("jax", "flax", "tensorflow_datasets", "tensorflow", "torch")),
        ("train", ("jax", "flax", "numpy", "tensorflow_datasets", "tensorflow", "torch")),
    ],
)
def test_an_import_brings_in_nothing_heavy_it_does_not_need(module, unwanted):
    code = f"import sys, {module}; print(sorted(set({unwanted!r}) & set(sys.modules)))"
    assert run([sys.executable, "-c", code], ROOT, [ROOT]).strip() == "[]"
