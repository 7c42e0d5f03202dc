"""Weight files put together by hand, so that they can lie; PyTorch is not needed."""

import pickle
import struct
import zipfile

OPEN = b"\x80\x02"  # protocol 2
MAGIC = 0x1950A86A20F9469CFC6C


def body(value):
    """The instructions that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def storage(key="0", size=6, kind="torch\nFloatStorage", tag="storage"):
    reference = body(tag) + b"c" + kind.encode() + b"\n" + body(key) + body("cpu") + body(size)
    return b"(" + reference + b"tQ"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, **of_storage):
    arguments = storage(**of_storage) + body(offset) + body(shape) + body(strides) + b"\x89}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def mapping(**values):
    return b"}(" + b"".join(body(name) + value for name, value in values.items()) + b"u"


def write_zip(path, tree, storages=None, compression=zipfile.ZIP_STORED, **members):
    files = {"data.pkl": OPEN + tree + b".", "byteorder": b"little"}
    files |= {f"data/{key}": data for key, data in (storages or {"0": floats(6)}).items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in (files | members).items():
            if data is not None:
                archive.writestr(f"archive/{name}", data)
    return path


def write_stream(path, tree, storages=None, little=True, version=1001):
    if storages is None:
        storages = {"0": floats(6)} if b"storage" in tree else {}
    parts = [pickle.dumps(part, 2) for part in (MAGIC, version, {"little_endian": little})]
    parts += [OPEN + tree + b".", pickle.dumps(list(storages), 2)]
    for data in storages.values():
        parts += [struct.pack("<q", len(data) // 4), data]
    path.write_bytes(b"".join(parts))
    return path


def floats(count):
    return struct.pack(f"<{count}f", *range(count))
