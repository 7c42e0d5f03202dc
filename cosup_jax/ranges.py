"""The range of every field of a configuration, checked before anything is built.

Names that other modules know (datasets, networks, losses) are checked there, where they are listed.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from cosup_jax import options
from cosup_jax.config import ConfigError

MAX_SIDE = 1024  # pixels of a slice as a network sees it
MAX_BLOCKS = 128  # of a network; ResNet-152 has 50
MAX_WIDTH = 1024
MAX_SEED = 2**64 - 1
DTYPES = ("float32", "bfloat16", "float16")
# What a network is used with after its training.
USED = (
    "batch_size",
    *(f"data.{name}" for name in ("name", "config", "source", "data_dir", "mask_values")),
    *(f"data.{name}" for name in ("train", "validation", "test", "size", "window")),
    *("data.scaling", "data.crop", "data.lungs"),
    "model.",
)


class Range(NamedTuple):
    """The values that a field may have, and how to say so."""

    holds: Callable[[Any], bool]
    words: str


def whole(low: int, high: int | None = None) -> Range:
    """Whole numbers from `low` to `high`, both included."""
    end = f" to {high}" if high is not None else " on"
    top = math.inf if high is None else high
    return Range(lambda v: type(v) is int and low <= v <= top, f"a whole number from {low}{end}")


def number(low: float, high: float = math.inf, *, without: str = "", words: str = "") -> Range:
    """Finite numbers between two ends, which belong to them but for those in `without`."""

    def holds(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        above = low < value if "low" in without else low <= value
        return above and (value < high if "high" in without else value <= high)

    start = f"a number above {low:g}" if "low" in without else f"a number from {low:g}"
    below = " and below" if "high" in without else " to"
    end = f"{below} {high:g}" if math.isfinite(high) else "" if "low" in without else " on"
    return Range(holds, words or f"{start}{end}")


def each(one: Range, least: int, most: int, words: str) -> Range:
    """Sequences of `least` to `most` values of another range."""

    def holds(value: Any) -> bool:
        fits = isinstance(value, tuple | list) and least <= len(value) <= most
        return fits and all(map(one.holds, value))

    return Range(holds, words)


def text(words: str = "a text", *, empty: bool = False) -> Range:
    """Texts, empty ones perhaps."""
    return Range(lambda v: isinstance(v, str) and (empty or bool(v.strip())), words)


def choice(*names: str) -> Range:
    """Some texts."""
    return Range(lambda v: isinstance(v, str) and v in names, f"one of {', '.join(names)}")


def either(first: Range, other: Range) -> Range:
    """The values of two ranges."""
    return Range(lambda v: first.holds(v) or other.holds(v), f"{first.words}, or {other.words}")


_FLAG = Range(lambda v: type(v) is bool, "True or False")
_PATH = Range(
    lambda v: isinstance(v, str) and not options.no_path(v) and (not v or bool(v.strip())),
    "a path, or nothing",
)
_SHARE = number(0, 1, words="a share from 0 to 1")
_POSITIVE = number(0, without="low")
_NOT_NEGATIVE = number(0, words="a number that is not below 0")
_OFF = number(0, words="a positive number, or 0 to do without")
_FACTOR = number(0, 1, without="low, high")
_SIZE = each(
    whole(1, MAX_SIDE), 2, 2, f"height and width, whole numbers from 1 to {MAX_SIDE}: (256, 256)"
)
_LEVELS = each(whole(1, 5), 0, 5, "different stages out of (1, 2, 3, 4, 5)")
_WEIGHTS = either(_NOT_NEGATIVE, each(_NOT_NEGATIVE, 1, 10, "several such, one for each head"))
_BLOCKS = Range(
    lambda v: each(whole(1), 0, 8, "").holds(v) and sum(v) <= MAX_BLOCKS,
    f"whole numbers of at least 1, together at most {MAX_BLOCKS}",
)
_WINDOW = Range(
    lambda v: each(number(-math.inf), 2, 2, "").holds(v) and v[1] > 0,
    "centre and width in HU, the width above 0: (-600.0, 1500.0)",
)
_SHARES = (
    *("probability", "flip_horizontal", "flip_vertical", "shift", "elastic"),
    *("equalise", "match", "window", "cutmix"),
)
_STRENGTHS = (
    *("rotation", "scale", "stretch", "contrast", "brightness", "gamma", "curve", "noise", "blur"),
)
_SPLIT = text("the name of a split, such as train or train[:50%]")

FIELDS: Mapping[str, Range] = {
    "seed": whole(0, MAX_SEED),
    "epochs": whole(1),
    "batch_size": whole(1, 65536),
    "devices": Range(whole(0).holds, "a whole number of devices, or 0 for all"),
    "init": Range(lambda v: v is None or _PATH.holds(v), _PATH.words),
    "data.name": text("the name of a dataset"),
    "data.config": text("the name of a configuration of the dataset, or nothing", empty=True),
    "data.source": _PATH,
    "data.data_dir": _PATH,
    "data.mask_values": text("value:class pairs such as 0:0,255:1"),
    "data.train": _SPLIT,
    "data.validation": _SPLIT,
    "data.test": text("the name of a split, or nothing", empty=True),
    "data.size": _SIZE,
    "data.window": _WINDOW,
    "data.scaling": choice("z_score", "unit"),
    "data.crop": Range(
        lambda v: v in ("", "volume", "slice", "both", "mirrored"),
        "volume, slice, both or mirrored, or nothing for whole slices",
    ),
    "data.lungs": _FLAG,
    "data.scales": each(number(0, 8, without="low"), 1, 64, "positive numbers such as (0.75, 1.0)"),
    "data.cache_gib": _NOT_NEGATIVE,
    "sampling.groups": Range(
        lambda v: isinstance(v, tuple | list), "a tuple of (start of the case ids, kind, share)"
    ),
    "sampling.slices": Range(whole(0).holds, "a positive number, or 0 to do without"),
    **{f"augment.{name}": _SHARE for name in _SHARES},
    **{f"augment.{name}": _NOT_NEGATIVE for name in _STRENGTHS},
    "loss.name": text("the name of a loss"),
    "loss.theta": _NOT_NEGATIVE,
    "loss.beta": _NOT_NEGATIVE,
    "loss.zeta": _WEIGHTS,
    "loss.omega": _WEIGHTS,
    "loss.reduction": choice("batch", "slice"),
    "loss.eps": _NOT_NEGATIVE,
    "loss.weighted_bce": _FLAG,
    "loss.summed": _FLAG,
    "loss.prediction": _NOT_NEGATIVE,
    "loss.hardest": Range(whole(0).holds, "a number of pixels, or 0 for all"),
    "loss.sure": _SHARE,
    "loss.background": _FLAG,
    "learning_rate": _POSITIVE,
    "optimizer.name": choice("adam", "sgd"),
    "optimizer.momentum": number(0, 1, without="high"),
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "clip": _OFF,
    "step_decay.factor": number(0, 1, without="low"),
    "step_decay.epochs": Range(whole(0).holds, "a positive number, or 0 to do without"),
    "plateau.factor": _FACTOR,
    "plateau.patience": whole(1),
    "early_stopping.patience": whole(1),
    "averaging.decay": Range(
        number(0, 1, without="high").holds, "0 for no average, or a number below 1 such as 0.99"
    ),
    "semi.per_round": Range(whole(0).holds, "a whole number, or 0 to train on labelled slices"),
    "semi.unlabelled": _SPLIT,
    "semi.exclude_patients": each(text(), 0, 10**6, "ids of patients, such as ('p1', 'p2')"),
    "semi.epochs": number(0, without="low", words="a number above 0, such as 0.5"),
    "semi.pretrain_epochs": whole(1),
    "semi.pretrain_batch_size": whole(1, 65536),
    "log.image_epochs": whole(1),
}
# Of the network, and of the parts of a network that is made of several.
MODEL: Mapping[str, Range] = {
    "name": text("the name of a network"),
    "width": whole(1, MAX_WIDTH),
    "blocks": _BLOCKS,
    "classes": whole(1, 16),
    "dtype": choice(*DTYPES),
    "edge_levels": _LEVELS,
    "mask_levels": _LEVELS,
    "decoder_edge_levels": _LEVELS,
    "decoder_mask_levels": _LEVELS,
    "fusion": text("the name of a fusion"),
    "backbone": text("the name of a backbone"),
    "guide_size": either(_SIZE, each(whole(1), 0, 0, "() for the size of the slices")),
    **dict.fromkeys(("deep_supervision", "partial_decoder", "reverse_attention"), _FLAG),
    **dict.fromkeys(("edge_attention", "reverse_after_concat", "deep", "auxiliary"), _FLAG),
    "output_stride": Range(lambda v: v in (8, 16), "8 or 16"),
    "multi_grid": each(whole(1, 64), 0, 8, "factors of dilations, or () for none"),
    "units": whole(1, 64),
}


def check(config: Mapping[str, Any], only: Collection[str] = ("",)) -> None:
    """Refuses values outside of the range of their field.

    Fields of the sections `model` and `loss` that are not known here belong to a network or a loss,
    which checks them.

    Args:
      config: a configuration, its groups as mappings.
      only: beginnings of the names of the fields to check; all of them by default.

    Raises:
      ConfigError: naming field, value and range.
    """
    for name, value in flat(config):
        if name.startswith(tuple(only)):
            check_field(name, value)


def check_names(config: Mapping[str, Any]) -> None:
    """Refuses a configuration to train that lacks a field, or has one that nothing reads.

    Raises:
      ConfigError: naming the field; of one that nothing reads, the nearest that is read, too.
    """
    names = [name for name, _ in flat(config)]
    known = [name for name in FIELDS if not name.startswith("loss.")]
    for name in names:
        if name not in known and not name.startswith(("model.", "loss.")):
            hint = options.nearest(name, known)
            raise ConfigError(f"the configuration has a field {name}, which nothing reads{hint}")
    if missing := [name for name in known if name not in names]:
        raise ConfigError(
            f"the configuration has no field {missing[0]} ({len(missing)} are missing); begin it "
            "with base.get_config(), which has all of them"
        )


def check_field(name: str, value: Any) -> None:
    """Refuses a value outside of a field's range, see `check`."""
    found = range_of(name)
    if found is not None and not found.holds(value):
        shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
        raise ConfigError(f"{name} is {shown}, expected {found.words}")


def range_of(name: str) -> Range | None:
    """Returns the range of a field, or None where a network or a loss knows it."""
    inside = name.removeprefix("model.")
    return FIELDS.get(name) if inside == name else MODEL.get(inside.rpartition(".")[2])


def flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Returns all fields of a configuration with their values, named as on the command line."""
    found = []
    for name in config:
        value = config[name]
        if hasattr(value, "keys") and range_of(prefix + name) is None:
            found += flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
