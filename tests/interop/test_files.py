"""Weight files in three formats: what is right is read, what is not is named and never run."""

import collections
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from cosup_jax.interop import WeightsFileError, pickles, read_tensors
from tests import needs
from tests.interop import pickled
from tests.interop.pickled import body, mapping, storage, tensor, write_stream, write_zip

COUNTED = np.arange(6, dtype=np.float32).reshape(2, 3)
WRITERS = {"zip": write_zip, "stream": write_stream}
both = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


class Bomb:
    """A pickle of it wants to make a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        import os

        return os.mkdir, (self.folder,)


@both
def test_a_tensor_is_read_as_it_lies_in_its_storage(write, tmp_path):
    tree = mapping(
        whole=tensor(),
        turned=tensor((3, 2), (1, 3)),
        end=tensor((2,), (1,), offset=4),
        number=tensor((), (), offset=5),
    )
    found = read_tensors(write(tmp_path / "a.pth", tree))
    np.testing.assert_array_equal(found["whole"], COUNTED)
    np.testing.assert_array_equal(found["turned"], COUNTED.T)
    np.testing.assert_array_equal(found["end"], [4, 5])
    assert found["number"] == 5
    assert not any(value.flags.writeable for value in found.values())


@both
def test_wrappers_are_opened(write, tmp_path):
    inner = mapping(**{"module.a": tensor(), "module.b": tensor()})
    for tree in (inner, mapping(epoch=body(3), state_dict=inner), mapping(model=inner)):
        found = read_tensors(write(tmp_path / "a.pth", tree))
        assert found.keys() == {"a", "b"}
    nested = mapping(state_dict=mapping(model=mapping(a=tensor(), b=tensor())), optimizer=b"}")
    assert read_tensors(write(tmp_path / "a.pth", nested)).keys() == {"a", "b"}
    # A part may well be called module.
    found = read_tensors(
        write(tmp_path / "a.pth", mapping(**{"module.a": tensor(), "b": tensor()}))
    )
    assert found.keys() == {"module.a", "b"}


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"a": COUNTED, "b": COUNTED.astype(np.float16)}, path)
    found = read_tensors(path)
    assert found["b"].dtype == np.float16
    np.testing.assert_array_equal(found["a"], COUNTED)


@both
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(write, tmp_path):
    bomb = body(Bomb(tmp_path / "made"))
    pickle.loads(pickled.OPEN + body(Bomb(tmp_path / "proof")) + b".")
    assert (tmp_path / "proof").exists()
    for tree in (bomb, mapping(a=tensor(), b=bomb), mapping(state_dict=mapping(a=bomb))):
        path = write(tmp_path / "a.pth", tree)
        with pytest.raises(WeightsFileError, match=r"a\.pth: it wants to run '.*mkdir'"):
            read_tensors(path)
    assert not (tmp_path / "made").exists()


WRONG_TREES = {
    "instruction": (b"(i__builtin__\nlist\n", "the instruction INST"),
    "network": (b"ctorch.nn\nLinear\n)\x81", "wants to run 'torch.nn.Linear'"),
    "list": (b"](" + tensor() + b"e", "no dictionary of tensors"),
    "empty": (mapping(), "no dictionary of tensors"),
    "number": (mapping(a=tensor(), b=body(3)), "'b' is no tensor"),
    "tuple key": (b"}(" + body((1, 2)) + tensor() + b"u", "neither text nor numbers"),
    "called storage": (mapping(a=b"ctorch\nFloatStorage\n)R"), "a call of what is neither"),
    "attributes": (mapping(a=tensor() + b"}b"), "attributes of what is no dictionary"),
    "stack": (b"u", "damaged pickle"),
    "memo": (b"h\x07", "damaged pickle"),
    "no storage": (mapping(a=tensor(tag="folder")), "a reference that is no storage"),
    "kind": (mapping(a=tensor(kind="torch.nn\nLinear")), "wants to run"),
    "other kind": (mapping(a=tensor(kind="collections\nOrderedDict")), "of no known type"),
    "two sizes": (mapping(a=tensor(), b=tensor((5,), (1,), size=5)), "two types or sizes"),
    "negative": (mapping(a=tensor(size=-6)), "without a key or size"),
    "long text": (b"X\xff\xff\xff\x7fabc", "damaged pickle"),
    "axes": (mapping(a=tensor((1,) * 9, (1,) * 9)), "shape and strides do not fit"),
    "strides": (mapping(a=tensor((2, 3), (3,))), "shape and strides do not fit"),
    "float": (mapping(a=tensor((2.0, 3), (3, 1))), "not all whole numbers"),
    "backwards": (mapping(a=tensor((2, 3), (3, -1), 5)), "not all whole numbers"),
    "before": (mapping(a=tensor(offset=-1)), "not all whole numbers"),
    "no element": (mapping(a=tensor((0, 2**62))), "it is empty"),
    "behind": (mapping(a=tensor(offset=1)), "'a': shape .* lead out of its storage"),
    "far": (mapping(a=tensor((2, 3), (2**62, 1))), "lead out of its storage"),
    "blown up": (mapping(a=tensor((10**12,), (0,))), "lead out of its storage"),
}


@both
@pytest.mark.parametrize("wrong", WRONG_TREES)
def test_what_is_wrong_in_a_pickle_is_named(write, wrong, tmp_path):
    tree, says = WRONG_TREES[wrong]
    path = write(tmp_path / "a.pth", tree)
    with pytest.raises(WeightsFileError, match=says) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_wrong_in_a_zip_is_named(tmp_path):
    path, tree = tmp_path / "a.pth", mapping(a=tensor())
    noise = np.random.default_rng(0).bytes(4000)  # makes the file larger than what is packed
    for says, arguments in {
        "5 bytes are there": {"storages": {"0": b"12345"}},
        "data/0 is missing": {"storages": {"1": b""}},
        "big-endian": {"byteorder": b"big"},
        "without the one data.pkl": {"data.pkl": None},
        "larger than the file": {"zeros": bytes(10**6), "compression": zipfile.ZIP_DEFLATED},
        "is compressed": {"noise": noise, "compression": zipfile.ZIP_DEFLATED},
    }.items():
        with pytest.raises(WeightsFileError, match=says):
            read_tensors(write_zip(path, tree, **arguments))
    content = write_zip(path, tree).read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(WeightsFileError, match="not a zip file"):
        read_tensors(path)
    place = content.index(pickled.floats(6))
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(WeightsFileError, match="CRC"):
        read_tensors(path)


def test_what_is_wrong_in_a_stream_is_named(tmp_path):
    path, tree = tmp_path / "a.pth", mapping(a=tensor())
    for says, arguments in {
        "storage 0 of 6 numbers is cut off": {"storages": {"0": pickled.floats(5)}},
        "list of storages does not fit": {"storages": {}},
        "big-endian": {"little": False},
        "unknown version": {"version": 7},
    }.items():
        with pytest.raises(WeightsFileError, match=says):
            read_tensors(write_stream(path, tree, **arguments))
    content = write_stream(path, tree).read_bytes()
    for end in (20, 60, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(WeightsFileError, match="cut off|damaged"):
            read_tensors(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.bin"
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n", pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(WeightsFileError, match=r"a\.bin: neither safetensors nor"):
            read_tensors(path)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "absent.pth")
    safetensors.numpy.save_file({"a": COUNTED}, path)
    content = path.read_bytes()
    for damaged in (content[:-1], b"\xff" * 7 + b"\x7f" + content[8:]):
        path.write_bytes(damaged)
        with pytest.raises(WeightsFileError, match=r"a\.bin: "):
            read_tensors(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_byte_becomes_nothing_but_our_error_is_raised(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    tree = mapping(state_dict=mapping(a=tensor(), b=tensor((3, 2), (1, 3))), other=storage())
    write = data.draw(st.sampled_from(list(WRITERS.values())))
    path = write(folder / "fuzzed.pth", tree)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_tensors(path)
    except WeightsFileError:
        return
    assert sum(value.size for value in found.values()) <= 100


def test_a_pickle_without_an_end_is_not_read_for_ever(monkeypatch):
    class Endless:
        """A file that goes on and on with None."""

        def __init__(self):
            self.place = 0

        def read(self, count):
            self.place += count
            return b"N" * count

        def tell(self):
            return self.place

    monkeypatch.setattr(pickles, "_LONGEST", 1000)
    with pytest.raises(pickles.PickleError, match="a pickle of more than"):
        pickles.read(Endless())


@pytest.mark.parametrize("stream", [False, True])
def test_what_pytorch_writes_is_read(stream, tmp_path):
    torch = needs.module("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2, 5, 5)).sum().backward()
    optimizer.step()
    shared = torch.arange(12.0)
    wanted = collections.OrderedDict(module.state_dict())
    wanted |= {"slice": shared[3:9:2], "turned": shared.reshape(3, 4).T, "half": shared.half()}
    wanted |= {"bfloat": shared.bfloat16(), "flag": shared > 3, "double": shared.double()}
    wanted["parameter"] = torch.nn.Parameter(shared.reshape(2, 6))
    path = tmp_path / "a.pth"
    whole = {"epoch": 3, "state_dict": wanted, "optimizer": optimizer.state_dict()}
    torch.save(whole, path, _use_new_zipfile_serialization=not stream)
    found = read_tensors(path)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        plain = value.detach()
        plain = plain.float() if name == "bfloat" else plain
        mine = found[name].astype(np.float32) if name == "bfloat" else found[name]
        np.testing.assert_array_equal(mine, plain.numpy(), err_msg=name)
        assert mine.dtype == plain.numpy().dtype
    torch.save(module, path, _use_new_zipfile_serialization=not stream)
    with pytest.raises(WeightsFileError, match=r"wants to run 'torch.nn.modules.container.Seq"):
        read_tensors(path)
