"""A small copy of MosMedData: ten of the 50 annotated studies, and four of the others."""

from pathlib import Path

from tests.dummy import volumes

ANNOTATED = [f"study_{255 + i:04d}" for i in range(10)]
OTHERS = ("CT-0/study_0001", "CT-1/study_0305", "CT-2/study_0939", "CT-4/study_1109")
ORIENTATIONS = ("LPS", "RAS", "LAS", "RPS", "LPI")


def write(folder: Path) -> None:
    """Writes the studies and the masks, as the archive unpacks them."""
    root = folder / "COVID19_1110"
    for i, name in enumerate(ANNOTATED):
        patient = volumes.draw(i, slices=2 + i % 2, infected=i > 0)
        orientation = ORIENTATIONS[i % len(ORIENTATIONS)]
        volumes.save(root / "studies/CT-1" / f"{name}.nii.gz", patient.image, orientation)
        infected = (patient.mask > 0).astype("uint8")
        volumes.save(root / "masks" / f"{name}_mask.nii.gz", infected, orientation)
    for i, name in enumerate(OTHERS):
        image = volumes.draw(100 + i, slices=1).image
        volumes.save(root / "studies" / f"{name}.nii.gz", image)
