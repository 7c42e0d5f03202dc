"""Uses an installed cosup-jax as a user of the library would, away from the repository.

    python -P use_wheel.py README.md

To be run in another folder by an interpreter that has the wheel installed. Imports every module
with TensorFlow and PyTorch made absent, runs the README's library example at a small size, loads
every dataset builder, builds and reads a small dataset, trains an epoch by the command `cosup`, and
marks a scan with what it has learnt.
"""

import csv
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ABSENT = ("tensorflow", "torch")
# Of the extra `dicom`; only the modules whose names begin so may need them.
OF_DICOM, DICOM = ("pydicom", "highdicom"), "cosup_jax.scans.dicom"


class Without:
    """A finder of modules that finds no absent package, and is the given one in all else."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, *where: Any) -> Any:
        """Returns None for the absent packages, as for any that is not installed."""
        return None if name.partition(".")[0] in ABSENT else self._finder.find_spec(name, *where)


def import_all(package: str) -> list[str]:
    """Imports a package with everything in it, and returns the modules' names.

    Only TFDS's own tests of the builders and what needs the extra `dicom` are left alone.
    """
    root = importlib.import_module(package)
    found = (m.name for m in pkgutil.walk_packages(root.__path__, f"{package}."))
    names = [package]
    for name in (name for name in found if not name.endswith("_dataset_builder_test")):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if not (name.startswith(DICOM) and missing.name in OF_DICOM):
                raise
        else:
            names.append(name)
    return names


def library_example(readme: Path) -> str:
    """Returns the README's Python example with its sizes made small."""
    (example,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    return example.replace("256", "32").replace("width=64", "width=4, blocks=(1, 1, 1, 1)")


def first_batch(folder: str) -> dict[str, Any]:
    """Draws the small phantoms into a folder and returns a batch of them."""
    from cosup_jax.data import datasets, pipeline, preprocess

    builder = datasets.make_builder("lung_phantom", config="tiny", data_dir=folder)
    datasets.prepare(builder)
    split = pipeline.open_split(builder, "test", preprocess.Preprocessing(size=(32, 32)))
    return next(pipeline.eval_batches(split, batch_size=4))


def cosup(*arguments: str, cwd: Path) -> None:
    """Runs the command as a user would."""
    command = [Path(sys.executable).with_name("cosup"), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cosup {arguments} ended with {done.returncode}\n{done.stderr}")


def predict(folder: Path) -> dict[str, str]:
    """Marks a drawn scan by the network that `train` left, and returns its row of the table."""
    import nibabel as nib
    import numpy as np

    from cosup_jax import phantom

    drawn = phantom.draw_volume(3, size=96, slices=12, infected=True)
    scan = nib.Nifti1Image(
        drawn.image.transpose().astype(np.int16), np.diag([*drawn.spacing[::-1], 1])
    )
    nib.save(scan, folder / "scan.nii.gz")
    cosup("predict", "scan.nii.gz", "--weights", "run", "--out", "marked", cwd=folder)
    with (folder / "marked/cohort.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    if row["status"] != "done":
        raise RuntimeError(f"cosup predict: {row}")
    return row


def train(folder: Path) -> float:
    """Trains an epoch on small phantoms as a user would, and returns the Dice that it reached."""
    settings = {
        "data.config": "tiny",
        "data.data_dir": folder,
        "data.size": "(32, 32)",
        "model.width": 4,
        "batch_size": 4,
        "epochs": 1,
        "devices": 1,
    }
    options = [f"--config.{name}={value}" for name, value in settings.items()]
    cosup("train", "quickstart", *options, "--workdir", "run", cwd=folder)
    summary = json.loads((folder / "run/evaluation/summary.json").read_text())
    return summary["dice"]["mean"]


def main(readme: str) -> None:
    """Uses all there is, and stops with an exception where something is missing."""
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    modules = import_all("cosup_jax") + import_all("tfds_builders")
    for name in ("cosup_jax", "tfds_builders"):
        place = Path(sys.modules[name].__file__ or "")
        if Path(sys.prefix) not in place.parents:
            raise ImportError(f"{name} comes from {place}, not from the wheel in {sys.prefix}")
    exec(compile(library_example(Path(readme)), readme, "exec"), {})

    import tfds_builders

    for name in tfds_builders.available():
        builder_class = tfds_builders.load_class(name)
        metadata = builder_class.get_metadata()
        if not (metadata.description and metadata.citation):
            raise FileNotFoundError(f"{name}: README.md or CITATIONS.bib is not in the wheel")
        print(f"dataset {name}: {builder_class.__module__}")
    with tempfile.TemporaryDirectory() as folder:
        print(first_batch(folder)["image"].shape)
        print(f"an epoch far from any clone: Dice {train(Path(folder)):.3f}")
        row = predict(Path(folder))
        print(f"a scan marked by it: {row['lesion_ml']} mL")
    print(f"{len(modules)} modules imported from {sys.prefix}")


if __name__ == "__main__":
    # On networks as small as here nearly all the time is compilation, here and in the commands.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    main(*sys.argv[1:])
