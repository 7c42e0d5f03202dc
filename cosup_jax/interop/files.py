"""Weight files: safetensors, and PyTorch's in both of its formats, as named NumPy arrays.

What is written in a file about sizes is held against the file before anything is made of it.
"""

import io
import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors

from cosup_jax.interop import pickles
from cosup_jax.interop.pickles import PickleError, StorageRecord, TensorRecord

_MEMBER = b"PK\x01\x02"  # begins the entry of each in the directory of a zip file
_ZIP, _STREAM = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STREAM_VERSION = 1001
_MOST_AXES = 8
_BFLOAT16 = np.dtype(jnp.bfloat16)
_MOST_MEMBERS = 50_000  # of a zip file: a tensor is one
_LONGEST_HEADER = 16 << 20  # bytes; that of some hundred tensors has 0.1 MB
# zipfile and safetensors raise nearly everything on damaged files. RuntimeError is an encrypted
# one, or with NotImplementedError below it one of another kind.
_DAMAGED = (
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,  # PickleError too
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
)

Tensors = dict[str, np.ndarray]


class WeightsFileError(ValueError):
    """A file that holds no weights that can be read safely; the message names it."""


def read_tensors(path: str | Path) -> Tensors:
    """Reads the tensors of a weight file; its format is known by its first bytes.

    Args:
      path: safetensors, or what `torch.save` wrote of a state dict: the zip format or the stream
        that came before PyTorch 1.6. Wrappers of a training script and of `DataParallel` are
        opened.

    Returns:
      Name to read-only array, types as stored.

    Raises:
      WeightsFileError: another kind of file, a damaged one, one with something other than tensors,
        or with tensors that do not fit into it.
      FileNotFoundError: there is no such file.
    """
    file = Path(path).expanduser()
    with file.open("rb") as opened:
        start = opened.read(16)
    try:
        if start.startswith(_ZIP):
            return _read_zip(file)
        if start.startswith(_STREAM):
            return _read_stream(io.BytesIO(file.read_bytes()))
        if start[8:9] == b"{":
            return _read_safetensors(file)
    except _DAMAGED as error:
        raise WeightsFileError(f"{file}: {error}") from error
    raise WeightsFileError(
        f"{file}: neither safetensors nor a file of torch.save; expected the weights of a network, "
        "or the folder of a run"
    )


def check_header(path: Path) -> None:
    """Refuses a safetensors file whose header is longer than any network's.

    Raises:
      ValueError: it is, or the file ends before it; the message does not name the file.
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(_LONGEST_HEADER, path.stat().st_size):
        raise ValueError(f"a header of {length} bytes is announced; no weights have so long a one")


def _read_safetensors(path: Path) -> Tensors:
    check_header(path)
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _check_members(path: Path) -> None:
    """Refuses a zip file of more members than any network has tensors, before they are listed."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found, at = 0, content.find(_MEMBER)
        while at >= 0 and found <= _MOST_MEMBERS:
            found, at = found + 1, content.find(_MEMBER, at + 1)
    if found > _MOST_MEMBERS:
        raise PickleError(f"a zip file of more than {_MOST_MEMBERS} members")


def _read_zip(path: Path) -> Tensors:
    _check_members(path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if sum(info.file_size for info in members.values()) > path.stat().st_size:
            raise PickleError("what is packed into it is larger than the file")
        pickled = [name for name in members if name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise PickleError("a zip file, but without the one data.pkl that torch.save writes")
        folder = pickled[0].removesuffix("data.pkl")

        def content(name: str) -> bytes:
            if folder + name not in members:
                raise PickleError(f"{name} is missing in it; the file is incomplete")
            if members[folder + name].compress_type != zipfile.ZIP_STORED:
                raise PickleError(f"{name} is compressed, which torch.save never does")
            return archive.read(folder + name)

        if folder + "byteorder" in members:
            _check_little_endian(content("byteorder") == b"little")
        tree, _ = pickles.read(io.BytesIO(content("data.pkl")))
        return _tensors(tree, lambda key: content(f"data/{key}"))


def _read_stream(file: io.BytesIO) -> Tensors:
    pickles.read(file)  # the mark by which the format is known
    version, system = (pickles.read(file)[0] for _ in range(2))
    if version != _STREAM_VERSION or not isinstance(system, dict):
        raise PickleError("a stream of torch.save of an unknown version")
    _check_little_endian(system.get("little_endian") is True)
    tree, storages = pickles.read(file)
    keys, _ = pickles.read(file)
    named = isinstance(keys, list) and all(isinstance(key, str | int) for key in keys)
    if not named or {*map(str, keys)} != {*storages}:
        raise PickleError("its list of storages does not fit its tensors; the file is damaged")
    # The storages follow in the order of their keys, each after its number of elements.
    contents: dict[str, bytes] = {}
    for key in map(str, keys):
        count, wanted = int.from_bytes(file.read(8), "little"), storages[key].size
        size = count * _dtype(storages[key]).itemsize
        if count != wanted or size > len(file.getbuffer()) - file.tell():
            raise PickleError(f"the storage {key} of {wanted} numbers is cut off")
        contents[key] = file.read(size)
    return _tensors(tree, contents.__getitem__)


def _check_little_endian(fits: bool) -> None:
    if not fits:
        raise PickleError("written on a big-endian machine; save it again on a little-endian one")


def _tensors(tree: Any, content: Callable[[str], bytes]) -> Tensors:
    contents: dict[str, bytes] = {}
    tensors = {}
    for name, record in pickles.weights(tree).items():
        if not isinstance(record, TensorRecord) or not isinstance(record.storage, StorageRecord):
            raise PickleError(f"{name!r} is no tensor; save the weights alone")
        key = record.storage.key
        if key not in contents:
            contents[key] = content(key)
        try:
            tensors[name] = _tensor(record, record.storage, contents[key])
        except PickleError as error:
            raise PickleError(f"the tensor {name!r}: {error}") from error
    return tensors


def _tensor(record: TensorRecord, storage: StorageRecord, content: bytes) -> np.ndarray:
    """Returns a view of the storage, after every number of the record is checked against it."""
    dtype = _dtype(storage)
    if storage.size * dtype.itemsize != len(content):
        raise PickleError(f"{storage.size} numbers are announced, {len(content)} bytes are there")
    shape, strides = record.shape, record.strides
    fit = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if not fit or len(shape) > _MOST_AXES:
        raise PickleError("its shape and strides do not fit together")
    numbers = (record.offset, *shape, *strides)
    if any(type(n) is not int or n < 0 for n in numbers):
        raise PickleError("its offset, shape and strides are not all whole numbers of at least 0")
    if 0 in shape:
        raise PickleError("it is empty")
    last = record.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if last >= storage.size or math.prod(shape) > storage.size:
        raise PickleError(f"shape {shape} and strides {strides} lead out of its storage")
    flat = np.frombuffer(content, dtype)[record.offset :]
    return np.lib.stride_tricks.as_strided(
        flat, shape, [s * dtype.itemsize for s in strides], writeable=False
    )


def _dtype(storage: StorageRecord) -> np.dtype:
    return _BFLOAT16 if storage.dtype == "bfloat16" else np.dtype(storage.dtype)
