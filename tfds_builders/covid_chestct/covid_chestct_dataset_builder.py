"""COVID-19 CT scans in the packing of Kaggle: the volumes of covid_ct_seg once more."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import tensorflow_datasets as tfds
from absl import logging

from cosup_jax.data.builder import NO_DATA_NEEDED, Case
from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder as covid_ct_seg

# CT volumes, infection masks, lung masks.
FOLDERS = ("ct_scans", "infection_mask", "lung_mask")
SAME_PATIENTS = (
    "covid_chestct holds the patients of covid_ct_seg, covid_semiseg (unlabelled) and cosup_covid: "
    "never test on it what was trained on one of these, except on the same fold of covid_ct_seg"
)


class Builder(covid_ct_seg.Builder):
    """Reads the 20 volumes as they lie on Kaggle, in the folds of covid_ct_seg."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download https://www.kaggle.com/datasets/andrewmvd/covid19-ct-scans and unpack it, so "
        "that the folder, or one folder in it, holds\n"
        f"  {FOLDERS[0]}/   coronacases_org_001.nii ... "
        "radiopaedia_org_covid-19-pneumonia-7_85703_0-dcm.nii\n"
        f"  {FOLDERS[1]}/   coronacases_001.nii ... radiopaedia_7_85703_0.nii\n"
        f"  {FOLDERS[2]}/   files of the same names as in {FOLDERS[1]}\n"
        "(.nii.gz is read as well; lung_and_infection_mask and metadata.csv are not needed.) Give "
        "the folder with --config.data.source=FOLDER, or to tfds build with --manual_dir=FOLDER. "
        f"{NO_DATA_NEEDED}"
    )
    folders = FOLDERS

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Lists train, validation and test of the fold."""
        logging.warning("%s", SAME_PATIENTS)
        return super().cases(dl_manager)
