"""Mutated volumes, weight files, pictures, arrays and indices; see `mutations`."""

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import safetensors.numpy
from PIL import Image

from cosup_jax import interop, weights
from cosup_jax.data import slice_files
from cosup_jax.evaluation import saved
from cosup_jax.scans import images, nifti
from tests.fuzzing.mutations import Target, mutate_bytes, mutate_header
from tests.interop import pickled
from tests.interop.test_hostile import own


def targets() -> dict[str, Target]:
    """Returns the targets by name."""
    volumes = tuple(map(_nifti, (np.int16, np.float64, np.uint16)))
    names = {f"{case}_{i}": Path(f"{case}_{i}.png") for case in "ab" for i in range(3)}
    rows = "".join(f"{path.name},{stem[0]},p{stem[0]},{stem[-1]}\n" for stem, path in names.items())
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
            lambda p: slice_files.read_index(p / "x.csv", names, {}),
            mutate_bytes,
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
