"""TFDS's own test of uestc_covid19, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.uestc_covid19 import uestc_covid19_dataset_builder


class UestcCovid19Test(tfds.testing.DatasetBuilderTestCase):
    """The first fold; the others differ in who is in which split."""

    DATASET_CLASS = uestc_covid19_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["fold0"]
    SPLITS = {"train": 16, "validation": 5, "test": 4}


class UestcCovid19NoisyTest(tfds.testing.DatasetBuilderTestCase):
    """The labels of non-experts."""

    DATASET_CLASS = uestc_covid19_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["noisy"]
    SPLITS = {"train": 10, "validation": 5, "test": 4}


if __name__ == "__main__":
    tfds.testing.test_main()
