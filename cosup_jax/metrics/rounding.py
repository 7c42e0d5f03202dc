"""Numbers rounded for readers, so that little does not become nothing."""

import math


def places(value: float, digits: int, figures: int = 1) -> int:
    """Returns behind how many places a number is rounded: `digits`, and more where it is small.

    Args:
      value: the number.
      digits: places behind the point where that leaves enough of it.
      figures: that are left of it at least, from the first that is not 0 on.

    >>> places(1.25, 1), places(0.0012, 1), places(0.0012, 1, 2), places(0.0, 1)
    (1, 3, 4, 1)
    """
    if not value or not math.isfinite(value):
        return digits
    return max(digits, figures - 1 - math.floor(math.log10(abs(value))))
