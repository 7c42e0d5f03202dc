"""The pickles in PyTorch's weight files, interpreted without executing anything.

Python's unpickler calls what a pickle tells it to call. The interpreter here knows only the
instructions that dictionaries, lists, tuples, text, numbers and tensors are made of. It imports
nothing and calls nothing: a tensor becomes a `TensorRecord`, a description still to be checked
against the file, and any other name or instruction is refused.
"""

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

_LONGEST = 16 << 20  # bytes; the pickle of a network of some hundred tensors has 0.1 MB
_MOST_STEPS = 250_000  # a tensor takes some 30
_LONGEST_NAME = 60
# Under which training scripts keep the weights beside an optimizer.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network"),
    *("network_weights", "model_state", "weights"),
)
# Which DataParallel, torch.compile and Lightning leave before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_STORAGES = {
    f"torch {name}Storage": dtype
    for name, dtype in {
        "Float": "float32",
        "Double": "float64",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
    }.items()
}
_MAPPING = "collections OrderedDict"
# name → number of leading arguments that describe a tensor: storage, offset, shape, strides
_REBUILD = {"torch._utils _rebuild_tensor": 4, "torch._utils _rebuild_tensor_v2": 4}
_PARAMETER = "torch._utils _rebuild_parameter"
_KNOWN = {*_STORAGES, *_REBUILD, _MAPPING, _PARAMETER}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUSHED = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINSTRING",
    "SHORT_BINSTRING",
}


class PickleError(ValueError):
    """A pickle that is damaged, or holds something other than a dictionary of tensors."""


class StorageRecord(NamedTuple):
    """A run of numbers somewhere in the file, as the pickle describes it; nothing is checked."""

    key: str
    dtype: str
    size: int


class TensorRecord(NamedTuple):
    """A tensor, as the pickle describes it; nothing is checked.

    Offset and strides count elements of the storage.
    """

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _Name(NamedTuple):
    text: str


class _NumberKey(str):
    """A number as the key of a dictionary; it names no tensor."""


def read(file: BinaryIO) -> tuple[Any, dict[str, StorageRecord]]:
    """Interprets the one pickle that begins where `file` stands, and leaves it just behind.

    Args:
      file: a binary file in memory, so that a length written in the pickle allocates nothing.

    Returns:
      Dictionaries, lists, tuples, text, numbers, None, and `TensorRecord` entries; and all storages
      the pickle speaks of, by their keys.

    Raises:
      PickleError: damaged, too long, or anything but these.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in what will be refused
            return _run(file)
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise PickleError(f"a damaged pickle: {str(error)[:200]}") from error


def _run(file: BinaryIO) -> tuple[Any, dict[str, StorageRecord]]:
    machine, start = _Machine(), file.tell()
    for number, (opcode, argument, position) in enumerate(pickletools.genops(file)):
        if (position or 0) - start > _LONGEST:
            raise PickleError(f"a pickle of more than {_LONGEST >> 20} MiB")
        if number > _MOST_STEPS:
            raise PickleError(f"a pickle of more than {_MOST_STEPS} instructions")
        if opcode.name == "STOP":
            break
        machine.step(opcode.name, argument)
    return machine.pop(), machine.storages


class _Machine:
    """The stack machine a pickle is written for, without what imports or calls."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRecord] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Takes one instruction."""
        push = self._stack.append
        if name in _PUSHED:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            push(self._memo[argument])
        elif name == "GLOBAL":
            push(_known(argument))
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self)
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(f"the instruction {name}, which no dictionary of tensors needs")

    def mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def unmark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def tuple_since_mark(self) -> None:
        items = tuple(self.unmark())
        self._stack.append(items)

    def tuple_of(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count:
            raise PickleError("a damaged pickle: a tuple of nothing")
        del self._stack[-count:]
        self._stack.append(tuple(items))

    def set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise PickleError("a damaged pickle: items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A tuple would do, but one made of itself many times over takes ages to hash.
            if not isinstance(key, str | int | float):
                raise PickleError("a dictionary whose keys are neither text nor numbers")
            # Numbers can be chosen so that all of them fall on one place; texts cannot.
            target[key if isinstance(key, str) else _NumberKey(key)] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise PickleError("a damaged pickle: elements of what is no list")
        self._stack[-1].extend(items)

    def storage(self) -> None:
        reference = self._stack.pop()
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise PickleError("a damaged pickle: a reference that is no storage")
        kind, key, _, count, *view = reference[1:]
        if not isinstance(kind, _Name) or kind.text not in _STORAGES:
            raise PickleError("a damaged pickle: a storage of no known type")
        if any(part is not None for part in view):
            raise PickleError("a storage that is a part of another one; save the weights again")
        if not isinstance(key, str | int) or type(count) is not int or count < 0:
            raise PickleError("a damaged pickle: a storage without a key or size")
        storage = StorageRecord(str(key), _STORAGES[kind.text], count)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise PickleError("a storage of two types or sizes; save the weights again")
        self._stack.append(storage)

    def reduce(self) -> None:
        """Where a pickle asks for a call, makes what the known functions would return."""
        arguments, function = self._stack.pop(), self._stack.pop()
        name = function.text if isinstance(function, _Name) else ""
        if not isinstance(arguments, tuple):
            raise PickleError("a damaged pickle: a call without arguments")
        if name == _MAPPING and not any(arguments):
            self._stack.append({})
        elif name in _REBUILD and len(arguments) >= _REBUILD[name]:
            self._stack.append(TensorRecord(*arguments[: _REBUILD[name]]))
        elif name == _PARAMETER and arguments and isinstance(arguments[0], TensorRecord):
            self._stack.append(arguments[0])
        else:
            raise PickleError("a call of what is neither a dictionary nor a tensor")

    def build(self) -> None:
        # The attributes of an OrderedDict are PyTorch's own notes on versions.
        self._stack.pop()
        if not isinstance(self._stack[-1], dict):
            raise PickleError("attributes of what is no dictionary")

    def named(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        # What is no text could take ages to be written as one.
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a damaged pickle: a name that is no text")
        self._stack.append(_known(f"{module} {name}"))


_INSTRUCTIONS: dict[str, Callable[[_Machine], Any]] = {
    "EMPTY_DICT": lambda m: m._stack.append({}),
    "EMPTY_LIST": lambda m: m._stack.append([]),
    "EMPTY_TUPLE": lambda m: m._stack.append(()),
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda m: m.tuple_of(1),
    "TUPLE2": lambda m: m.tuple_of(2),
    "TUPLE3": lambda m: m.tuple_of(3),
    "SETITEM": lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m: m.set_items(m.unmark()),
    "APPEND": lambda m: m.extend([m.pop()]),
    "APPENDS": lambda m: m.extend(m.unmark()),
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "STACK_GLOBAL": _Machine.named,
}


def _known(name: str) -> _Name:
    if name not in _KNOWN:
        raise PickleError(
            f"it wants to run {name.replace(' ', '.')[:_LONGEST_NAME]!r}, and only tensors are "
            "read here; save the weights alone, torch.save(model.state_dict(), …), or as "
            "safetensors"
        )
    return _Name(name)


def _is_name(key: Any) -> bool:
    return type(key) is str and len(key) <= _LONGEST_NAME * 2


def weights(tree: Any) -> dict[str, Any]:
    """Returns the dictionary of tensors in what a file holds, whatever was wrapped around it.

    The `WRAPPERS` are opened; what training leaves before every name (`module.`, `_orig_mod.`,
    `model.`, or several of them) is dropped.

    Raises:
      PickleError: there is no such dictionary.
    """
    for _ in range(3):
        if not isinstance(tree, dict) or any(isinstance(v, TensorRecord) for v in tree.values()):
            break
        inside = [name for name in WRAPPERS if isinstance(tree.get(name), dict)]
        if not inside:
            break
        tree = tree[inside[0]]
    if not isinstance(tree, dict) or not tree or not all(map(_is_name, tree)):
        raise PickleError(f"no dictionary of tensors, nor one under {', '.join(WRAPPERS)}")
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in tree)), ""):
        tree = {name.removeprefix(prefix): value for name, value in tree.items()}
    return tree
