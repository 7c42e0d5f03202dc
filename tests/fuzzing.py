"""Files mutated at random and read in this process: only the package may refuse them.

`TARGETS` names what is read; `try_out` mutates one seed of a target and says what came of it. The
suite reads a few of each, `.ci/fuzz.py` thousands.
"""

import dataclasses
import gzip
import io
import json
import random
import shutil
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import safetensors.numpy
from PIL import Image

from cosup_jax import config as configuration
from cosup_jax import interop, runs, weights
from cosup_jax.data import datasets, slice_files
from cosup_jax.evaluation import comparison, saved, scoring
from cosup_jax.runs import logs
from cosup_jax.scans import images, nifti
from tests.interop import pickled
from tests.interop.test_hostile import own

ACCEPTED, REFUSED, OTHER = "accepted", "refused", "other exception"
_EXTREMES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\xc0\x7f",
    b"9999999",
)
_VALUES = (None, True, -1, 0, 3.5, 1e308, 2**70, "", "x", [], [1, "x"], {}, {"a": []}, [[[]]])


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that is read.

    Attributes:
      name: the file's name, with its suffix.
      seeds: contents that are right.
      read: reads the file of this name in a folder, which holds what lies beside it.
      mutate: makes of a seed, and a generator, a mutated content.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    mutate: Callable[[bytes, random.Random], bytes]


def mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flips, overwrites, cuts, repeats, inserts or moves some bytes, up to eight times."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        if not data:
            break
        at, length = draw.randrange(len(data)), draw.choice((1, 2, 4, 8, 64))
        kind = draw.randrange(6)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            extreme = draw.choice(_EXTREMES)
            data[at : at + len(extreme)] = extreme
        elif kind == 2:
            del data[at : draw.choice((at + length, len(data)))]
        elif kind == 3:
            data[at:at] = data[at : at + length] * draw.choice((1, 3, 50))
        elif kind == 4:
            data[at:at] = draw.randbytes(length)
        else:
            other = draw.randrange(len(data))
            data[at : at + length] = data[other : other + length]
    return bytes(data)


def mutate_header(content: bytes, draw: random.Random) -> bytes:
    """Mutates the first 352 bytes: of a NIfTI file, its header."""
    return mutate_bytes(content[:352], draw)[:352].ljust(352, b"\0") + content[352:]


def mutate_json(content: bytes, draw: random.Random) -> bytes:
    """Replaces, drops or adds values at any depth; or mutates the text."""
    if draw.random() < 0.3:
        return mutate_bytes(content, draw)
    lines = content.decode().splitlines() if b"\n{" in content else [content.decode()]
    at = draw.randrange(len(lines))
    value = json.loads(lines[at])
    for _ in range(draw.choice((1, 1, 2, 5))):
        place, key = _somewhere(value, draw)
        if key is None:
            value = draw.choice(_VALUES)
            break
        if draw.random() < 0.2:
            del place[key]
        else:
            place[key] = draw.choice(_VALUES)
    lines[at] = json.dumps(value)
    return "\n".join(lines).encode()


def _somewhere(value, draw):
    place, key = None, None
    while isinstance(value, dict | list) and value:
        place, key = (
            value,
            draw.choice(list(value) if isinstance(value, dict) else range(len(value))),
        )
        value = place[key]
        if draw.random() < 0.3:
            break
    return place, key


def try_out(target: Target, folder: Path, draw: random.Random) -> tuple[str, BaseException | None]:
    """Reads one mutated file; returns what came of it, and the exception."""
    (folder / target.name).write_bytes(target.mutate(draw.choice(target.seeds), draw))
    try:
        target.read(folder)
    except Exception as error:
        of_package = type(error).__module__.startswith(("cosup_jax", "tfds_builders"))
        return (REFUSED if of_package else OTHER), error
    return ACCEPTED, None


def targets(run: Path, folder: Path) -> dict[str, tuple[Target, Path]]:
    """Returns all targets, each with a folder of its own in `folder`.

    Args:
      run: a finished run on `lung_phantom`, whose dataset lies in the folder `tfds` beside it.
      folder: an empty folder.
    """
    found = {}
    for name, target in _targets(run).items():
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True)
        if target.name in ("config.json", "data.json", "metrics.jsonl"):
            for text in ("config.json", "data.json", "metrics.jsonl"):
                shutil.copy(run / text, place / text)
        if target.name == "summary.json":
            shutil.copy(run / "evaluation/per_slice.csv", place)
        found[name] = target, place
    return found


def _targets(run: Path) -> dict[str, Target]:
    volumes = tuple(map(_nifti, (np.int16, np.float64, np.uint16)))
    builder = datasets.make_builder(
        "lung_phantom", config="tiny", data_dir=str(run.parent / "tfds")
    )
    config = runs.read_config(run)
    names = {f"{case}_{i}": Path(f"{case}_{i}.png") for case in "ab" for i in range(3)}
    rows = "".join(f"{path.name},{stem[0]},p{stem[0]},{stem[-1]}\n" for stem, path in names.items())

    def describe(place: Path) -> object:
        opened = types.SimpleNamespace(workdir=place, config=config, note="")
        return scoring.notes(opened, builder, "test", asked=True)

    def open_config(place: Path) -> object:
        opened = runs.read_config(place)
        return runs.build_model(opened), runs.preprocessing(opened)

    texts = {name: (run / name).read_bytes() for name in ("config.json", "data.json")}
    return {
        "NIfTI": Target("x.nii", volumes, lambda p: nifti.read_volume(p / "x.nii"), mutate_bytes),
        "NIfTI headers": Target(
            "x.nii", volumes, lambda p: nifti.read_volume(p / "x.nii"), mutate_header
        ),
        "gzipped NIfTI": Target(
            "x.nii.gz",
            tuple(map(gzip.compress, volumes)),
            lambda p: nifti.read_volume(p / "x.nii.gz"),
            mutate_bytes,
        ),
        "torch zip": _tensors("x.pth", lambda p: pickled.write_zip(p, _TREE)),
        "torch stream": _tensors("x.pt", lambda p: pickled.write_stream(p, _TREE)),
        "safetensors": _tensors("x.safetensors", lambda p: p.write_bytes(_SAFE)),
        "own weights": Target(
            "x.safetensors",
            (_written("x.safetensors", own),),
            lambda p: weights.load(p / "x.safetensors"),
            mutate_bytes,
        ),
        "pictures": Target(
            "x.png", _pictures(), lambda p: images.read_map(p / "x.png"), mutate_bytes
        ),
        "arrays": Target("x.npy", (_array(),), _read_array, mutate_bytes),
        "index CSV": Target(
            "x.csv",
            (f"file,case,patient,slice\n{rows}".encode(),),
            lambda p: slice_files.read_index(p / "x.csv", names),
            mutate_bytes,
        ),
        "config.json": Target("config.json", (texts["config.json"],), open_config, mutate_json),
        "data.json": Target("data.json", (texts["data.json"],), describe, mutate_json),
        "metrics.jsonl": Target(
            "metrics.jsonl", ((run / "metrics.jsonl").read_bytes(),), logs.read_metrics, mutate_json
        ),
        "summary.json": Target(
            "summary.json",
            ((run / "evaluation/summary.json").read_bytes(),),
            comparison.read,
            mutate_json,
        ),
        "configurations compared": Target(
            "x.json",
            (texts["config.json"],),
            lambda p: configuration.differences(
                texts["config.json"].decode(), (p / "x.json").read_text(errors="replace")
            ),
            mutate_json,
        ),
    }


_TREE = pickled.mapping(
    state_dict=pickled.mapping(**{"module.a": pickled.tensor(), "b": pickled.tensor((3,), (1,))})
)
_SAFE = safetensors.numpy.save({"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float16)})


def _tensors(name: str, write: Callable[[Path], object]) -> Target:
    return Target(
        name, (_written(name, write),), lambda p: interop.read_tensors(p / name), mutate_bytes
    )


def _written(name: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def _nifti(dtype: type) -> bytes:
    values = np.arange(4 * 5 * 3).reshape(4, 5, 3).astype(dtype)
    return nib.Nifti1Image(values, np.diag([-1.0, -1.5, 5.0, 1.0])).to_bytes()


def _pictures() -> tuple[bytes, ...]:
    found = []
    for dtype, kind in (
        (np.uint8, "PNG"),
        (np.uint16, "PNG"),
        (np.uint8, "TIFF"),
        (np.uint8, "JPEG"),
    ):
        content = io.BytesIO()
        Image.fromarray(np.arange(96, dtype=dtype).reshape(8, 12)).save(content, kind)
        found.append(content.getvalue())
    return tuple(found)


def _array() -> bytes:
    content = io.BytesIO()
    np.save(content, np.linspace(0, 1, 48).reshape(6, 8))
    return content.getvalue()


def _read_array(place: Path) -> object:
    return saved.read_map(place / "x.npy", saved.Meaning("", 1))
