"""Folders of results, which are no scans although masks lie in them."""

from pathlib import Path

RECORD, TABLE, UNCERTAIN = "findings.json", "cohort.csv", "uncertain.csv"
SEGMENTATION = "mask.dcm"
MASKS = ("mask.nii.gz", SEGMENTATION)  # of a volume; one of pictures is a folder


def is_here(folder: Path) -> bool:
    """Whether a folder is one that `predict` has made, by the record in it."""
    try:
        record = (folder / RECORD).read_bytes()
    except OSError:
        return False
    return not record.strip() or b'"made_of"' in record
