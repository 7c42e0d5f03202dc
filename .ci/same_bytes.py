"""Builds small datasets in two ways and compares all that is stored.

    python -m tests.dummy.write
    python .ci/same_bytes.py beam    # every dataset, plainly and on Beam's local runner
    python .ci/same_bytes.py tfds    # some, by this package's command and by `tfds build`

The first needs the extra `beam` and the absence of TensorFlow, the second the extra `tfds-cli`.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

import tfds_builders
from cosup_jax.data import datasets

ROOT = Path(__file__).parents[1] / "tfds_builders"
PLAIN = (sys.executable, "-m", "tfds_builders", "build")
BEAM = "runner=DirectRunner"
PHANTOM = "lung_phantom"
# Without source files, with NIfTI volumes, and with pictures.
BY_TFDS = {PHANTOM: "tiny", "mosmed_covid19": "fold0", "covid_semiseg": "default"}
SHARDS = 3


def build(command: Sequence[str], name: str, data_dir: Path, *options: str) -> dict[str, Any]:
    """Builds the dummy data of a dataset and returns every file by its path in `data_dir`."""
    places = [f"--data_dir={data_dir}"]
    if name != PHANTOM:  # which is made without files
        places.append(f"--manual_dir={ROOT / name / 'dummy_data'}")
    done = subprocess.run([*command, *places, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} {options}\n{done.stdout}\n{done.stderr}")
    files = sorted(path for path in data_dir.rglob("*") if path.is_file())
    return {str(path.relative_to(data_dir)): _content(path) for path in files}


def _content(path: Path) -> Any:
    content = path.read_bytes()
    if path.name != "dataset_info.json":
        return content
    # `tfds build` imports a builder by the name of its folder alone.
    return {k: v for k, v in json.loads(content).items() if k != "moduleName"}


def compare(name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Stops where two builds of a dataset differ, or stored nothing."""
    differing = [path for path in first | second if first.get(path) != second.get(path)]
    if differing or not any("array_record" in path for path in first):
        raise AssertionError(f"{name}: the two builds differ in {differing}")
    print(f"{name}: {len(first)} files of the same bytes", flush=True)


def by_beam(folder: Path) -> None:
    """Compares plain builds with those on Beam, and both where there are several shards."""
    if importlib.util.find_spec("tensorflow"):
        raise RuntimeError("this is to show that Beam needs no TensorFlow, but it is installed")
    for name in tfds_builders.available():
        config = "--config=tiny" if name == PHANTOM else "--config="
        plain = build((*PLAIN, name), name, folder / name / "plain", config)
        beam = build(
            (*PLAIN, name), name, folder / name / "beam", config, f"--beam_pipeline_options={BEAM}"
        )
        compare(name, plain, beam)
    found = {several_shards(folder / f"shards{options}", options) for options in ("", BEAM)}
    if len(found) > 1:
        raise AssertionError("in several shards, the records differ, or their order")
    print(f"in {SHARDS} shards, which Beam cuts elsewhere: the same records in the same order")


def several_shards(data_dir: Path, beam_options: str) -> str:
    """Builds the small phantoms in several shards, and returns the fingerprint of the records."""
    builder = datasets.make_builder(PHANTOM, config="tiny", data_dir=str(data_dir))
    options = datasets.beam_pipeline(beam_options) if beam_options else None
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(beam_options=options, num_shards=SHARDS)
    )
    if builder.info.splits["train"].num_shards != SHARDS:
        raise AssertionError(f"{builder.info.splits['train'].num_shards} shards")
    return datasets.fingerprint(builder, builder.info.splits)


def by_tfds(folder: Path) -> None:
    """Compares builds by this package's command with those by the command of TFDS."""
    for name, config in BY_TFDS.items():
        plain = build((*PLAIN, name), name, folder / name / "plain", f"--config={config}")
        command = (str(Path(sys.executable).with_name("tfds")), "build", str(ROOT / name))
        options = (f"--config={config}", "--file_format=array_record")
        compare(name, plain, build(command, name, folder / name / "tfds", *options))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        {"beam": by_beam, "tfds": by_tfds}[sys.argv[1]](Path(folder))
