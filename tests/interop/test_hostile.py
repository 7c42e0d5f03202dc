"""Weight files made to take for ever or all memory: refused at the first look."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from cosup_jax import weights
from cosup_jax.interop import WeightsFileError, read_tensors
from tests.interop import pickled
from tests.interop.pickled import body, mapping, tensor

DOUBLED = b")" + b"q\x00h\x00\x86" * 60  # a tuple of itself twice, sixty times over: 2^60 parts


def stream_of(path, keys):
    """A stream whose list of storages is what these instructions push."""
    whole = pickled.write_stream(path, mapping(a=tensor())).read_bytes()
    end = pickle.dumps(["0"], 2)
    at = whole.index(end, whole.index(pickled.OPEN + mapping(a=tensor())))
    path.write_bytes(whole[:at] + pickled.OPEN + keys + b"." + whole[at + len(end) :])


def colliding(count):
    """A dictionary of whole numbers that have one and the same hash."""
    prime = 2**61 - 1
    numbers = (body(k * prime) + b"N" for k in range(1, count))
    return b"}(" + b"".join(numbers) + b"u"


PICKLES = {
    "a name of doubled tuples": b"\x80\x04" + DOUBLED + DOUBLED + b"\x93",
    "a key of doubled tuples": b"}" + DOUBLED + b"Ns",
    "a call with doubled tuples": b"ccollections\nOrderedDict\n" + DOUBLED + b"R",
    "a shape of doubled tuples": mapping(a=tensor().replace(body((2, 3)), DOUBLED)),
    "keys of one hash": colliding(100_000),
    "a flood of dictionaries": b"}" * (1 << 20),
    "a flood of marks": b"(" * (1 << 20),
    "a flood of texts": (b"X\x01\x00\x00\x00a") * (1 << 20),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_never_ends_is_refused(kind, tmp_path):
    path = pickled.write_zip(tmp_path / "a.pth", PICKLES[kind])
    with pytest.raises(WeightsFileError, match=r"a\.pth: "):
        read_tensors(path)


@pytest.mark.parametrize("keys", [b"](" + DOUBLED + b"e", b"]" + colliding(10) + b"a", b"N"])
def test_a_stream_lists_its_storages_in_words(keys, tmp_path):
    stream_of(tmp_path / "a.pth", keys)
    with pytest.raises(WeightsFileError, match="its list of storages does not fit"):
        read_tensors(tmp_path / "a.pth")


def test_a_zip_file_of_more_members_than_tensors_is_refused(tmp_path):
    path = pickled.write_zip(tmp_path / "a.pth", mapping(a=tensor()))
    entry = path.read_bytes()
    entry = entry[entry.index(b"PK\x01\x02") : entry.index(b"PK\x05\x06")]
    with path.open("ab") as file:
        file.write(entry * 20_000)
    with pytest.raises(WeightsFileError, match="more than 50000 members"):
        read_tensors(path)


NETWORK = {"name": "cosup", "width": 4, "blocks": [1, 1, 1, 1], "dtype": "float32"}
SETTINGS = {"size": [32, 32], "window": [-600.0, 1500.0], "scaling": "z_score"}


def own(path, network=None, settings=None, text=None):
    """A file of this package's form, with hardly a tensor in it."""
    about = {
        "format": 1,
        "network": NETWORK | (network or {}),
        "preprocessing": SETTINGS | (settings or {}),
    }
    metadata = {"cosup_jax": json.dumps(about) if text is None else text}
    safetensors.numpy.save_file({"params/a": np.zeros(3, np.float32)}, path, metadata)
    return path


LIES = {
    "many blocks": ({"blocks": [100_000, 1, 1, 1]}, {}, "model.blocks is .*, expected whole"),
    "some blocks": ({"blocks": [30, 30, 30, 30]}, {}, "has 120 blocks, but holds 1 tensors"),
    "blocks of a part": (
        {"name": "guided", "guide": {"name": "infnet", "blocks": [10**6]}},
        {},
        "model.guide.blocks is",
    ),
    "a wide network": ({"width": 10**7}, {}, "model.width is 10000000, expected"),
    "many classes": ({"classes": 10**6}, {}, "model.classes is"),
    "large slices": ({}, {"size": [10_000, 10_000]}, r"data.size is \(10000, 10000\), expected"),
    "a type": ({"edge_levels": ["x", 1]}, {}, "model.edge_levels is"),
    "a window": ({}, {"window": [0.0, float("inf")]}, "data.window is"),
    "no numbers": ({}, {"size": [None, 3]}, "damaged, or no weights"),
    "a list for a network": ({"dtype": []}, {}, "model.dtype is"),
}


@pytest.mark.parametrize("kind", LIES)
def test_metadata_that_lies_is_refused_before_anything_is_made_of_it(kind, tmp_path):
    network, settings, said = LIES[kind]
    with pytest.raises(weights.WeightsError, match=said):
        weights.load(own(tmp_path / "a.safetensors", network, settings))


@pytest.mark.parametrize("text", ["[" * 200_000, "[]", "", "{", '{"format": 1}', '{"format": []}'])
def test_metadata_that_is_none_is_refused(text, tmp_path):
    with pytest.raises(weights.WeightsError, match=r"a\.safetensors: "):
        weights.load(own(tmp_path / "a.safetensors", text=text))


@pytest.mark.parametrize("length", [2**63, 2**40, 17 << 20])
def test_a_header_longer_than_any_is_refused(length, tmp_path):
    path = own(tmp_path / "a.safetensors")
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    for read, error in ((read_tensors, WeightsFileError), (weights.load, weights.WeightsError)):
        with pytest.raises(error, match=r"a\.safetensors: "):
            read(path)


def test_what_libraries_raise_on_damage_is_named(tmp_path):
    path = pickled.write_zip(tmp_path / "a.pth", mapping(a=tensor()))
    content = path.read_bytes()
    at = content.index(b"PK\x05\x06") + 16
    for place in (0xFFFFFF, 0xFFFFFFFF, 3):  # where the directory is said to begin
        path.write_bytes(content[:at] + struct.pack("<I", place) + content[at + 4 :])
        with pytest.raises(WeightsFileError):
            read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ä/data.pkl", b"x")
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xfe"))
    with pytest.raises(WeightsFileError):
        read_tensors(path)


PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", ["", "network_weights", "weights", "model_state", "state_dict"])
def test_names_and_wrappers_of_training_programs_are_known(prefix, wrapper, tmp_path):
    tree = mapping(**{f"{prefix}a": tensor(), f"{prefix}b.weight": tensor()})
    tree = mapping(**{wrapper: tree, "epoch": body(3)}) if wrapper else tree
    path = pickled.write_zip(tmp_path / "a.pth", tree)
    assert read_tensors(path).keys() == {"a", "b.weight"}
