"""Small copies of nine of the 20 volumes, as they lie on Kaggle."""

import re
from pathlib import Path

from tests.dummy import covid_ct_seg
from tfds_builders.covid_chestct.covid_chestct_dataset_builder import FOLDERS


def write(folder: Path) -> None:
    """Writes them, the CT volumes under their longer names."""
    for case_id in covid_ct_seg.ORIENTATIONS:
        names = [f"{image_name(case_id)}.nii", *[f"{case_id}.nii"] * 3]
        folders = (*FOLDERS, "lung_and_infection_mask")
        covid_ct_seg.write_case(folder, case_id, names, folders)


def image_name(case_id: str) -> str:
    """Returns the name that a CT volume has on Kaggle, without suffix."""
    name = case_id.replace("coronacases_", "coronacases_org_")
    return re.sub("radiopaedia_(.+)", r"radiopaedia_org_covid-19-pneumonia-\1-dcm", name)
