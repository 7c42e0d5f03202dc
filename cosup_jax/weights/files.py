"""Files of weights: written from a finished run, and read without executing or trusting anything.

A file is safetensors. Kernels are kept in half precision, everything of one axis (biases, and what
batch normalisation knows) in single; tensors are named by their path (`params/encoder/stage1/…`).
Its metadata has one entry, `cosup_jax`, a JSON object with `format`, `network` (the settings that
build it), `preprocessing`, `threshold` (½ in files without one), `peak` (0 in files without one),
`target` (what is marked: infection, or lungs), and `card`, a mapping of texts and figures on how it
came about.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from cosup_jax import __version__, files, interop, models, ranges
from cosup_jax import config as configuration
from cosup_jax.data import chest
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.metrics import THRESHOLD
from cosup_jax.weights.about import KEY, MISREAD, SUFFIX, WeightsError, parse

if TYPE_CHECKING:
    from cosup_jax import runs

DEFAULT = "c2f-base"
LUNGS = "lungs-small"
TARGETS = ("infection", "lungs")
CROPS = WHOLE, VOLUME, SLICE, BOTH, MIRRORED = chest.CROPS
_EARLIER_CROPS = {False: WHOLE, True: VOLUME}  # in files that knew these two alone
_FORMAT = 1
_HERE = Path(__file__).parent
_COLLECTIONS = ("params", "batch_stats")


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network ready for use.

    Attributes:
      name: what to call it.
      model: the network.
      variables: `{"params": …, "batch_stats": …}`, float32 NumPy arrays.
      preprocessing: how a slice must be prepared for it.
      digest: SHA-256 of the weights in hexadecimal digits.
      card: how it came about; empty for the folder of a run.
      threshold: probability above which a pixel is infection, chosen on validation where the
        weights come from a file that says so, and otherwise ½.
      crop: to what the slices must be cut that it is given, one of `CROPS`
        (`cosup_jax.data.chest`).
      target: what it marks, one of `TARGETS`.
      peak: probability that a voxel of each part of the marks must reach; 0: parts are marked
        however sure the network is of them.
    """

    name: str
    model: nn.Module
    variables: dict[str, Any]
    preprocessing: Preprocessing
    digest: str
    card: Mapping[str, Any]
    threshold: float = THRESHOLD
    crop: str = WHOLE
    target: str = TARGETS[0]
    peak: float = 0.0


def names() -> tuple[str, ...]:
    """Returns the names of the weights that come with the package and mark infection."""
    return tuple(sorted(path.stem for path in _HERE.glob(f"*{SUFFIX}") if path.stem != LUNGS))


def load_lungs() -> Pretrained:
    """Loads the network that comes with the package and marks lungs, whatever is dense in them."""
    return load(_HERE / f"{LUNGS}{SUFFIX}")


def file_of(which: str) -> str:
    """Returns the file of weights that come with the package, or what was given if it is no name.

    >>> file_of("runs/c2f")
    'runs/c2f'
    """
    return str(_HERE / f"{which}{SUFFIX}") if which in names() else which


def load_pretrained(which: str | Path = DEFAULT) -> Pretrained:
    """Loads a trained network.

    Args:
      which: the name of weights that come with the package, a file of `save`, or the folder of a
        finished run.

    Raises:
      WeightsError: there is no such thing, the file is none of `save`, or it marks lungs.
      CheckpointError: the run holds no complete checkpoint.
    """
    path = Path(file_of(str(which))).expanduser()
    if path.is_dir():
        from cosup_jax import runs  # takes a second, which a file of weights need not wait for

        run = runs.open_run(path)
        digest = hashlib.sha256()
        for name, tensor in sorted(_flat(run.variables).items()):
            digest.update(name.encode() + tensor.tobytes())
        name = f"{path.name}, epoch {run.epoch}"
        network = run.model, run.variables, run.preprocessing
        return Pretrained(name, *network, digest.hexdigest(), {}, crop=run.crop)
    if which == LUNGS:
        path = _HERE / f"{LUNGS}{SUFFIX}"
    if path.is_file():
        found = load(path)
        if found.target != TARGETS[0]:
            raise WeightsError(
                f"the weights {str(which)!r} mark {found.target}, no {TARGETS[0]}; give one of: "
                f"{', '.join(names())}"
            )
        return found
    raise WeightsError(
        f"there are no weights {str(which)!r}; give the folder of a finished run, a file of "
        f"`python -m cosup_jax export_weights`, or one of: {', '.join(names()) or '(none here)'}"
    )


def save(
    path: Path,
    run: "runs.Run",
    card: Mapping[str, Any],
    *,
    threshold: float = THRESHOLD,
    crop: str | None = None,
    target: str = TARGETS[0],
    peak: float = 0.0,
) -> None:
    """Writes the weights of a run, of the epoch that it was opened at.

    Args:
      path: the file to write, `.safetensors`.
      run: from `runs.open_run`.
      card: texts and figures on how the weights came about, JSON values; the epoch is added.
      threshold: probability above which a pixel is infection.
      crop: to what slices are cut in prediction, one of `CROPS`; None for what the run says, which
        does not know of slices that were cut before they became its dataset.
      target: what is marked, one of `TARGETS`.
      peak: probability that a voxel of each part of the marks must reach.

    Raises:
      WeightsError: another suffix, or a value too large for half precision.
    """
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: expected a name that ends with {SUFFIX}")
    tensors = {name: _narrowed(name, tensor) for name, tensor in _flat(run.variables).items()}
    about = {
        "format": _FORMAT,
        "version": __version__,
        "network": run.config.model.to_dict(),
        "preprocessing": dataclasses.asdict(run.preprocessing),
        "threshold": threshold,
        "crop": run.crop if crop is None else crop,
        "target": target,
        "peak": peak,
        "card": {**card, "epoch": run.epoch},
    }
    files.write_bytes(path, serialise(tensors, {KEY: json.dumps(about)}))


def load(path: Path) -> Pretrained:
    """Reads a file of `save`.

    Raises:
      WeightsError: not such a file, damaged, or its tensors are not those of its network.
    """
    try:
        interop.check_header(path)
        with safe_open(path, framework="numpy") as file:
            about = parse(file.metadata() or {})
            names = list(file.keys())
            model, preprocessing = _build(about, len(names))
            # Before any tensor is read; a second for each, which those of the package are spared.
            if path.parent != _HERE:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
                _check_shapes(shapes, model, preprocessing)
            tensors = {name: _wide(name, file.get_tensor(name)) for name in names}
            threshold, crop = _threshold(about), about.get("crop", WHOLE)
            peak = _peak(about)
            if isinstance(crop, bool):
                crop = _EARLIER_CROPS[crop]
            if crop not in CROPS:
                raise WeightsError(f"crop {crop!r}; expected one of {', '.join(map(repr, CROPS))}")
            if (target := about.get("target", TARGETS[0])) not in TARGETS:
                raise WeightsError(f"target {target!r}; expected one of {', '.join(TARGETS)}")
    except (WeightsError, configuration.ConfigError, files.FileError) as error:
        raise WeightsError(f"{path}: {error}") from error
    except (SafetensorError, OSError, *MISREAD) as error:
        raise WeightsError(f"{path}: damaged, or no weights of this package: {error}") from error
    variables = {name: {} for name in _COLLECTIONS} | traverse_util.unflatten_dict(tensors, sep="/")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = about.get("card", {})
    return Pretrained(
        path.stem, model, variables, preprocessing, digest, card, threshold, crop, target, peak
    )


def _build(about: Mapping[str, Any], count: int) -> tuple[nn.Module, Preprocessing]:
    if about["format"] != _FORMAT:
        raise WeightsError(
            f"written in format {about['format']} by version {about.get('version')}; this is "
            f"version {__version__}, which reads format {_FORMAT}"
        )
    network = configuration.with_tuples(about["network"])
    fields = about["preprocessing"]
    (height, width), (centre, span) = fields["size"], fields["window"]
    size, window = (int(height), int(width)), (float(centre), float(span))
    shown = fields.get("lungs", False)
    ranges.check({"model": network, "data": {"size": size, "window": window, "lungs": shown}})
    # Each block has tensors of its own: a claim of more than there are costs nothing.
    if (claimed := _count_blocks(network)) > count:
        raise WeightsError(f"says that it has {claimed} blocks, but holds {count} tensors")
    model = models.build(**network | {"dtype": jnp.dtype(network["dtype"])})
    return model, Preprocessing(**{**fields, "size": size, "window": window})


def _threshold(about: Mapping[str, Any]) -> float:
    threshold = about.get("threshold", THRESHOLD)
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise WeightsError(f"threshold {threshold!r}; expected a number between 0 and 1")
    return threshold


def _peak(about: Mapping[str, Any]) -> float:
    peak = about.get("peak", 0.0)
    if not isinstance(peak, float) or not 0 <= peak < 1:
        raise WeightsError(f"peak {peak!r}; expected a number from 0 to below 1")
    return peak


def _count_blocks(network: Mapping[str, Any]) -> int:
    inner = sum(_count_blocks(value) for value in network.values() if isinstance(value, Mapping))
    return inner + sum(network.get("blocks", ()))


def _check_shapes(
    found: Mapping[str, tuple[int, ...]], model: nn.Module, settings: Preprocessing
) -> None:
    image = jax.ShapeDtypeStruct((1, *settings.size, 1), jnp.float32)
    wanted = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    shapes = {name: leaf.shape for name, leaf in _flat(wanted).items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            raise WeightsError(
                f"the tensor {name} has the shape {found.get(name, '(missing)')}, but its "
                f"network wants {shapes.get(name, '(no such tensor)')}"
            )


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: variables[name] for name in _COLLECTIONS if name in variables}
    return traverse_util.flatten_dict(kept, sep="/")


def _wide(name: str, tensor: np.ndarray) -> np.ndarray:
    if not np.isfinite(tensor).all():
        raise WeightsError(f"the tensor {name} holds NaN or infinite values")
    return tensor.astype(np.float32)


def _narrowed(name: str, tensor: np.ndarray) -> np.ndarray:
    if tensor.ndim < 2:
        return np.asarray(tensor, np.float32)
    if np.abs(tensor).max() > np.finfo(np.float16).max:
        raise WeightsError(f"the tensor {name} holds values too large for half precision")
    return np.asarray(tensor, np.float16)
