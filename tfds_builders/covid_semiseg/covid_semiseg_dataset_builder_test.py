"""TFDS's own test of covid_semiseg, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.covid_semiseg import covid_semiseg_dataset_builder


class CovidSemiSegTest(tfds.testing.DatasetBuilderTestCase):
    """The experts' labels."""

    DATASET_CLASS = covid_semiseg_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["default"]
    SPLITS = {"train": 45, "validation": 5, "test": 48, "unlabelled": 6}


class CovidSemiSegPseudoTest(tfds.testing.DatasetBuilderTestCase):
    """The published pseudo labels."""

    DATASET_CLASS = covid_semiseg_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["pseudo"]
    SPLITS = {"train": 6, "validation": 5, "test": 48}


if __name__ == "__main__":
    tfds.testing.test_main()
