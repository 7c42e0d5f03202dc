"""What the numbers of a scan and of its labels mean: kinds of intensity, classes of infection."""

INTENSITIES = ("hu", "grey8", "grey16", "unknown")
CLASSES = ("ground-glass", "consolidation", "effusion")  # from 1 on
LARGEST_OFFSET = 100_000  # of stored values to HU, either way; some count from 32768
