"""What the numbers of a scan and of its labels mean: kinds of intensity, classes of infection."""

INTENSITIES = ("hu", "grey8", "grey16", "unknown")
CLASSES = ("ground-glass", "consolidation", "effusion")  # from 1 on
_AIR = -500  # air is -1000 HU, and no chest volume in HU is without some


def judge_intensity(lowest: float, highest: float) -> str:
    """Returns `hu`, `grey8` or `unknown` for a volume, judged by the range of its values.

    >>> judge_intensity(-1000, 400), judge_intensity(0, 255), judge_intensity(0, 1)
    ('hu', 'grey8', 'unknown')
    """
    if lowest <= _AIR:
        return "hu"
    return "grey8" if lowest >= 0 and 1 < highest <= 255 else "unknown"
