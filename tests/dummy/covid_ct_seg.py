"""Small copies of nine of the 20 volumes of COVID-19-CT-Seg, for both of their packings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosup_jax.phantom import PhantomVolume
from tests.dummy import volumes
from tfds_builders.covid_ct_seg.covid_ct_seg_dataset_builder import FOLDERS

# By the orientation in which it is stored; that of radiopaedia is what the headers claim.
ORIENTATIONS = {
    "coronacases_001": "LAS",
    "coronacases_002": "LPS",
    "coronacases_003": "RAI",
    "coronacases_004": "SRA",
    "radiopaedia_10_85902_1": "LAS",
    "radiopaedia_10_85902_3": "LAS",
    "radiopaedia_29_86490_1": "LAS",
    "radiopaedia_29_86491_1": "LAS",
    "radiopaedia_7_85703_0": "LAS",
}
SLICES = {case_id: 2 + i % 3 for i, case_id in enumerate(ORIENTATIONS)}


def write(folder: Path) -> None:
    """Writes them as they lie at Zenodo."""
    for case_id in ORIENTATIONS:
        write_case(
            folder, case_id, [f"{case_id}.nii.gz"] * 4, (*FOLDERS, "Lung_and_Infection_Mask")
        )


def draw(case_id: str) -> PhantomVolume:
    """Draws the patient of a volume, upright and in HU."""
    return volumes.draw(list(ORIENTATIONS).index(case_id), slices=SLICES[case_id])


def write_case(folder: Path, case_id: str, names: Sequence[str], folders: Sequence[str]) -> None:
    """Writes image, infection, lung and both, each under its name into its folder."""
    patient = draw(case_id)
    infected = (patient.mask > 0).astype(np.uint8)
    image = patient.image if case_id[0] == "c" else volumes.as_grey8(patient.image)
    both = np.where(infected, np.uint8(3), patient.lung)
    for name, part, axial in zip(
        names, folders, (image, infected, patient.lung, both), strict=True
    ):
        volumes.save(folder / part / name, _lay(axial, case_id), ORIENTATIONS[case_id])


def _lay(axial: np.ndarray, case_id: str) -> np.ndarray:
    """Lays a patient down as the volume's header wrongly has it."""
    if case_id.startswith("radiopaedia"):
        axial = axial[:, ::-1]
    return axial[::-1] if case_id == "radiopaedia_7_85703_0" else axial
