"""TFDS's own test of volume_folder, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.volume_folder import volume_folder_dataset_builder


class VolumeFolderTest(tfds.testing.DatasetBuilderTestCase):
    """The folder given as manual_dir."""

    DATASET_CLASS = volume_folder_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["default"]
    SPLITS = {"train": 9, "validation": 3, "test": 3, "unlabelled": 3}


if __name__ == "__main__":
    tfds.testing.test_main()
