"""How a network of one channel is told where lung is: what lies beyond is half as bright.

Where grey values say little of that themselves, since the histogram of the whole slice was made
flat, they are bent first until lungs are as dark as in a CT's lung window. NumPy only.
"""

import numpy as np

from cosup_jax.data import chest

_BEYOND_LUNGS = 0.5
_FLAT = 0.05  # furthest that a flat histogram's cumulative one lies from a straight line
_DARK_LUNGS = 0.16  # of the slice's maximum, where the darkest tenth of lungs ends in a window


def taken(values: np.ndarray, intensity: str, lung: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a slice (H, W), bent where its histogram is flat, and the lungs to be shown in it.

    Args:
      values: (H, W) float32; HU where `intensity` is `hu`, grey values otherwise.
      intensity: one of `schema.INTENSITIES`.
      lung: (H, W) bool, the lungs that were found in it.

    Returns:
      (H, W) float32; (H, W) bool, the lungs and what touches them.
    """
    shown = values if intensity == "hu" else unflattened(values, lung)
    return shown, chest.touching(lung)


def darkened(grey: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Returns grey values (H, W) half as bright where `lung`, (H, W) bool, is not.

    Black is 0, or what is darkest where that is below.

    >>> darkened(np.array([[100.0, 100.0]]), np.array([[True, False]])).tolist()
    [[100.0, 50.0]]
    """
    black = np.minimum(grey.min(), np.float32(0))
    return np.where(lung, grey, black + (grey - black) * np.float32(_BEYOND_LUNGS))


def has_flat_histogram(grey: np.ndarray) -> bool:
    """Tells whether all grey values (H, W) above the darkest are equally common.

    That is what histogram equalisation of the whole slice makes; by parts (CLAHE), it does not.

    >>> has_flat_histogram(np.arange(9000.0).reshape(90, 100))
    True
    >>> has_flat_histogram(np.arange(9000.0).reshape(90, 100) ** 2)
    False
    """
    levels, counts = np.unique(grey[::3, ::3], return_counts=True)
    if len(levels) < 1 / _FLAT:
        return False
    upto = np.cumsum(counts) / counts.sum()
    before = np.append(0, upto[:-1])
    straight = (levels - levels[0]) / (levels[-1] - levels[0])
    # Programs differ in whether a level stands for what is darker, or for that and itself.
    found = (upto - upto[0]) / (1 - upto[0]), before / before[-1]
    return any(bool(np.abs(one - straight).max() < _FLAT) for one in found)


def unflattened(grey: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Returns grey values (H, W) with lungs, (H, W) bool, as dark as a window leaves them.

    Of all of a slice with a flat histogram, whose lungs are about as bright as what is around them,
    the range is bent: x in 0..1 to a power. Others are returned as they are.
    """
    if not lung.any() or not has_flat_histogram(grey):
        return grey
    black = np.minimum(grey.min(), np.float32(0))
    share = (grey - black) / (grey.max() - black)
    tenth = min(float(np.percentile(share[lung], 10)), 1 - _FLAT)
    if tenth <= _DARK_LUNGS:
        return grey
    power = np.float32(np.log(_DARK_LUNGS) / np.log(tenth))
    return black + (grey.max() - black) * share**power
