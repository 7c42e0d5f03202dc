"""On which planes the frames of a Segmentation lie; planes without labels may be missing."""

import numpy as np

from cosup_jax.scans.geometry import TOLERANCE
from cosup_jax.scans.nifti import VolumeError

MAX_FRAMES = 65535
_SAME = 1e-3  # mm
_TELLING = 2  # gaps of one size; fewer are chance
_ROUNDED = 0.1  # mm; positions may have one digit, while the distance between planes has more


def find(
    positions: np.ndarray, normal: np.ndarray, between: float, thickness: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Finds the planes.

    A distance that is said counts if all planes lie whole numbers of it apart, or of what is left
    of it across planes that are tilted to the table. Planes that are thicker than it, or of unknown
    thickness, contradict it where all gaps are multiples of the same two or more distances and two
    gaps are no larger than that: a lesion that goes on would be drawn on the planes between.

    Args:
      positions: (frames, 3) in mm.
      normal: of the planes.
      between: distance of two planes as the file says it, in mm; 0 where it does not.
      thickness: of a plane in mm; 0 where the file does not say it.

    Returns:
      on which plane each frame lies, the way from one plane to the next in mm, and whether it is
      known to be that; else it is the least of two planes with labels.

    Raises:
      VolumeError: they are not evenly apart.
    """
    along = positions @ normal
    along = along - along.min()
    apart = np.diff(np.sort(along))
    apart = apart[apart > _SAME]
    if not apart.size:
        return np.zeros(len(positions), int), normal * (between or thickness or 1.0), between > 0
    way = positions[int(np.argmax(along))] - positions[int(np.argmin(along))]
    on_table = between * float(way @ normal) / float(np.linalg.norm(way))
    for distance in (between, on_table):
        if (found := _even(positions, along, normal, distance, given=True)) is None:
            continue
        places, step = found
        every, gaps = int(np.gcd.reduce(places)), np.diff(np.unique(places))
        few = every == 1 or np.count_nonzero(gaps == every) < _TELLING
        if few or 0 < thickness <= (1 + TOLERANCE) * between:
            return places, step, True
        return places // every, step * every, False
    found = _even(positions, along, normal, float(apart.min()), given=False)
    if found is None:
        raise VolumeError("frames that are no planes of one volume, evenly apart")
    # Of planes as far apart as they are thick none is missing.
    close = abs(float(np.linalg.norm(found[1])) - thickness) <= TOLERANCE * thickness
    return *found, close


def _even(
    positions: np.ndarray, along: np.ndarray, normal: np.ndarray, distance: float, *, given: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the planes and the way between two, if frames lie whole numbers of distances apart.

    Args:
      positions: as for `find`.
      along: of each frame, how far it lies along the normal in mm, from the first one.
      normal: as for `find`.
      distance: of planes in mm.
      given: whether the file says it, which may have more digits than positions then.
    """
    if distance <= 0 or not along.max() / distance < MAX_FRAMES:
        return None
    places = np.rint(along / distance).astype(int)
    first, last = positions[int(np.argmin(along))], positions[int(np.argmax(along))]
    way, between_ends = last - first, int(places.max())
    step = way / max(between_ends, 1)
    allowed = TOLERANCE * distance
    if np.abs(positions - np.round(positions, 1)).max() <= _SAME * _ROUNDED:
        allowed = max(allowed, min(_ROUNDED + _SAME, distance / 4))
        if given and np.linalg.norm(way - between_ends * distance * normal) <= allowed:
            step = distance * normal
    off = np.linalg.norm(positions - first - places[:, None] * step, axis=1).max()
    return None if off > allowed or not between_ends else (places, step)
