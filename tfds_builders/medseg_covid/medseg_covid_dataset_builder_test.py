"""TFDS's own test of medseg_covid, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.medseg_covid import medseg_covid_dataset_builder


class MedSegSlicesTest(tfds.testing.DatasetBuilderTestCase):
    """The 100 slices."""

    DATASET_CLASS = medseg_covid_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["slices100"]
    SPLITS = {"train": 70, "validation": 10, "test": 20, "unlabelled": 10}


class MedSegVolumesTest(tfds.testing.DatasetBuilderTestCase):
    """The nine volumes."""

    DATASET_CLASS = medseg_covid_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["volumes9"]
    SPLITS = {"train": 18, "validation": 3, "test": 6}


if __name__ == "__main__":
    tfds.testing.test_main()
