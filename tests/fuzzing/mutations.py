"""Files mutated at random and read in this process: only the package may refuse them."""

import copy
import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

OUTCOMES = REFUSED, ACCEPTED, OTHER = "refused", "accepted", "other exception"
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
_VALUES += (json.loads("[" * 300 + "]" * 300),)


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that is read.

    Attributes:
      name: the file's name, with its suffix.
      seeds: contents that are right.
      read: reads the file of this name in a folder, which holds what lies beside it.
      mutate: makes of a seed, and a generator, a mutated content.
      beside: writes into the folder what lies beside the file.
      slow: the suite takes fewer of them.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    mutate: Callable[[bytes, random.Random], bytes]
    beside: Callable[[Path], object] = lambda place: None
    slow: bool = False


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
            value = copy.deepcopy(draw.choice(_VALUES))
            break
        if draw.random() < 0.2:
            del place[key]
        else:
            place[key] = copy.deepcopy(draw.choice(_VALUES))
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
