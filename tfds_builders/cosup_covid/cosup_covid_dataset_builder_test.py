"""TFDS's own test of cosup_covid, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.cosup_covid import cosup_covid_dataset_builder


class CosupCovidTest(tfds.testing.DatasetBuilderTestCase):
    """Split by patient."""

    DATASET_CLASS = cosup_covid_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["patient"]
    SPLITS = {"train": 150, "validation": 2, "test": 2}


class CosupCovidPaperTest(tfds.testing.DatasetBuilderTestCase):
    """Split by slice, as the paper's."""

    DATASET_CLASS = cosup_covid_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["paper"]
    SPLITS = {"train": 122, "validation": 16, "test": 16}


if __name__ == "__main__":
    tfds.testing.test_main()
