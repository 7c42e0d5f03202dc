"""What in a coarse CT volume is lung: by its density, what surrounds it, and its thickness."""

import math

import numpy as np
from scipy import ndimage

from cosup_jax import metrics
from cosup_jax.prediction import distances

_NARROWEST, _FEWEST = 100.0, 16  # mm and pixels; a picture of less holds no chest to be told
_AIR = -955.0  # HU; the median around a voxel of lung, emphysema left out, is above
_LUNG = -400.0  # HU; lung is below, even with ground-glass around it
_BEYOND = -1100.0  # HU; nothing was measured where values are below
_TYPICAL = (-200.0, 200.0)  # HU, between which the median of the body's tissue lies
_BODY_SHARE = 0.02  # of the voxels at least, or there is no body in the picture
_CORE = 4.0  # mm inside its border, lung is more than a rim between air and tissue
_VARIES = 40.0  # HU from the 10th to the 90th percentile in a lung; gas and foam vary less
_GAS = -945.0  # HU; the median of a lung is above
_OPEN = 0.15  # of a lung's border, at most, may face the air around the body
_CORNERS = 0.9  # of all corners of slices, at least, hold the same value if that is a fill
_THIN = 20.0  # mm; slits, rims and mattresses have no voxel deeper inside
_ONE_FACED = 0.6  # shares of what has the body before it and behind it differ by less in a lung
_ENCLOSED = 0.6  # of an air pocket's border, at least, faces lung if it is a part of the lung
_HEIGHT = 60.0  # mm; of a lower stack as much less is enough
_LOWEST = 20.0  # mm; a stack of less shows too little to say that there are none
_REGROW = 4.0  # mm beyond the erosion that lung may be from what is left
TISSUE = -250.0  # HU; the body outside of the lungs is above
_SMALLEST_ML = 100.0
_CROSS = ndimage.generate_binary_structure(3, 1)


class LungError(ValueError):
    """The lungs cannot be told; the message says why."""


class NoLungsError(LungError):
    """There are no lungs in the picture."""


def lung_tissue(
    coarse: np.ndarray, sides: list[float], lowest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is lung, windpipe and great airways left out, and what is air around the body.

    Args:
      coarse: (Z, H, W) HU.
      sides: of its voxels in mm.
      lowest: the smallest value of the volume; where it alone stands, nothing was measured.
    """
    _, height, width = coarse.shape
    if min(height, width) < _FEWEST or min(height * sides[1], width * sides[2]) < _NARROWEST:
        raise LungError(
            f"no lungs told: a picture of {width} × {height} coarse pixels, "
            f"{width * sides[2]:.0f} × {height * sides[1]:.0f} mm, is too small"
        )
    low = coarse < _LUNG
    if not low.any():
        raise NoLungsError("no lungs found: there is no air in the picture")
    airy = _median_is_at_most(coarse, _AIR)
    unmeasured = (coarse < _BEYOND) | (coarse == lowest) | (coarse == _fill(coarse))
    around = _reaching_the_rim(airy | unmeasured)
    cores, count = ndimage.label(_core(~airy & low, sides))
    sizes = np.bincount(cores.ravel(), minlength=count + 1) * metrics.voxel_ml(sides)
    least = _SMALLEST_ML * min(1.0, len(coarse) * sides[0] / _HEIGHT)
    seen = [part for part in range(1, count + 1) if sizes[part] >= least / 8]
    grown = regrow(low & (coarse > _AIR - 5) & ~around, cores, max(_CORE, *sides), sides)
    thick = distances.deeper(coarse > TISSUE, sides, _CORE)
    boxes = ndimage.find_objects(grown)
    lungs, cut = [], False
    for part in seen:
        box = _wider(boxes[part - 1], coarse.shape)
        here = grown[box] == part
        if (
            _is_like_lung(_calm(coarse, box, cores[box] == part))
            and _depth(here, sides) > _THIN
            and not _lies_on_body(here, thick[box[0]], box)
        ):
            if _open_share(here, around[box], unmeasured[box]) <= _OPEN:
                lungs.append(part)
            else:
                cut = True
    if cut and not lungs:
        raise LungError("no lungs told: what looks like lung lies open to the air around")
    if not lungs and len(coarse) * sides[0] < _LOWEST:
        raise LungError(f"no lungs told in a stack of {len(coarse) * sides[0]:.1f} mm")
    if not lungs:
        what = "what air there is, is none of a lung" if seen else "only small pockets of air"
        raise NoLungsError(f"no lungs found: {what}")
    _check_contrast(coarse)
    lung = np.isin(grown, lungs)
    return lung | _pockets(low & ~around & ~lung, lung), around


def _footprint(coarse: np.ndarray) -> tuple[int, int, int]:
    return 3 if len(coarse) > 2 else 1, 3, 3


def _median_is_at_most(coarse: np.ndarray, limit: float) -> np.ndarray:
    """Returns where the median of a voxel and those around it is at most so much: of most of them.

    A median leaves borders where they are, while a mean makes lung of a slit of air.
    """
    counts = (coarse <= limit).astype(np.uint8)
    for axis, length in enumerate(_footprint(coarse)):
        counts = ndimage.convolve1d(counts, np.ones(length), axis, mode="nearest")
    return counts > math.prod(_footprint(coarse)) // 2


def _calm(coarse: np.ndarray, box: tuple[slice, ...], where: np.ndarray) -> np.ndarray:
    """Returns the medians of voxels and those around them, where asked for in a box."""
    sizes = _footprint(coarse)
    first = [side.start - size // 2 for side, size in zip(box, sizes, strict=True)]
    places = [found + start for found, start in zip(np.nonzero(where), first, strict=True)]
    around = []
    for offset in np.ndindex(sizes):
        moved = zip(places, offset, coarse.shape, strict=True)
        around.append(coarse[tuple(np.clip(at + step, 0, n - 1) for at, step, n in moved)])
    middle = math.prod(sizes) // 2
    return np.partition(np.stack(around), middle, axis=0)[middle]


def _wider(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, part.start - 3), min(n, part.stop + 3))
        for part, n in zip(box, shape, strict=True)
    )


def _fill(coarse: np.ndarray) -> float:
    """Returns the value that stands in the corners where nothing was measured, or NaN."""
    corners = coarse[:, (0, 0, -1, -1), (0, -1, 0, -1)]
    value = float(np.median(corners))
    return value if (corners == value).mean() > _CORNERS else math.nan


def _reaching_the_rim(air: np.ndarray) -> np.ndarray:
    parts, _ = ndimage.label(air)
    edges = (parts[:, 0], parts[:, -1], parts[..., 0], parts[..., -1])
    rim = np.concatenate([edge.ravel() for edge in edges])
    return np.isin(parts, np.unique(rim[rim > 0]))


def _core(like: np.ndarray, sides: list[float]) -> np.ndarray:
    """Returns the inside, beyond the picture's border being as at it."""
    padded = np.pad(like, 1, mode="edge")
    eroded = ndimage.binary_erosion(padded, _CROSS)[1:-1, 1:-1, 1:-1]
    return eroded & distances.deeper(like, sides, _CORE)


def _is_like_lung(values: np.ndarray) -> bool:
    low, middle, high = np.percentile(values, (10, 50, 90))
    return bool(middle > _GAS and high - low >= _VARIES)


def _open_share(part: np.ndarray, around: np.ndarray, unmeasured: np.ndarray) -> float:
    """Returns which share of a part's border faces the air around the body."""
    shell = ndimage.binary_dilation(part, _CROSS, iterations=2) & ~part & ~unmeasured
    return np.count_nonzero(shell & around) / max(1, int(np.count_nonzero(shell)))


def _depth(part: np.ndarray, sides: list[float]) -> float:
    """Returns how far inside of a part its deepest voxel is, in mm within its slice."""
    depths = (ndimage.distance_transform_edt(pixels, sampling=sides[1:]) for pixels in part)
    return max(float(depth.max()) for depth in depths)


def _lies_on_body(part: np.ndarray, thick: np.ndarray, box: tuple[slice, ...]) -> bool:
    """Whether a part has the body behind it or before it only, as a mattress or a blanket has.

    Args:
      part: in its box.
      thick: tissue, the shell of a table left out; whole slices.
      box: where the part is.
    """
    columns = thick[..., box[2]]
    before = np.logical_or.accumulate(columns, axis=1)[:, box[1]]
    behind = np.logical_or.accumulate(columns[:, ::-1], axis=1)[:, ::-1][:, box[1]]
    return abs(float(before[part].mean()) - float(behind[part].mean())) > _ONE_FACED


def _pockets(air: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Returns the pockets of air that lung encloses: bullae, and airways inside it."""
    parts, count = ndimage.label(air)
    near = ndimage.binary_dilation(air, _CROSS) & ~air
    owner = ndimage.grey_dilation(parts, footprint=_CROSS)
    faces = np.bincount(owner[near], minlength=count + 1)
    to_lung = np.bincount(owner[near & lung], minlength=count + 1)
    kept = to_lung >= _ENCLOSED * np.maximum(faces, 1)
    kept[0] = False
    return kept[parts]


def _check_contrast(coarse: np.ndarray) -> None:
    body = coarse[coarse > TISSUE]
    if body.size < _BODY_SHARE * coarse.size:
        raise LungError("no lungs told: hardly any tissue in the picture")
    median = float(np.median(body))
    if not _TYPICAL[0] < median < _TYPICAL[1]:
        raise LungError(f"odd contrast: the tissue's median is {median:.0f} HU")


def regrow(lung: np.ndarray, seeds: np.ndarray, depth: float, sides: list[float]) -> np.ndarray:
    """Returns the lung as deep around the seeds, each voxel labelled as the seed nearest to it."""
    here, labels = distances.box(lung | (seeds > 0)), np.zeros_like(seeds)
    inside, kept = seeds[here], lung[here]
    if kept.size:
        distance, nearest = ndimage.distance_transform_edt(
            inside == 0, sampling=sides, return_indices=True
        )
        labels[here] = np.where(kept & (distance <= depth + _REGROW), inside[tuple(nearest)], 0)
    return labels
