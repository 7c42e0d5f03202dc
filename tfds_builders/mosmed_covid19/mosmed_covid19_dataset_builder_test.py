"""TFDS's own test of mosmed_covid19, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.mosmed_covid19 import mosmed_covid19_dataset_builder


class MosMedCovid19Test(tfds.testing.DatasetBuilderTestCase):
    """The first fold; the others differ in who is in which split."""

    DATASET_CLASS = mosmed_covid19_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["fold0"]
    SPLITS = {"train": 15, "validation": 4, "test": 6}


if __name__ == "__main__":
    tfds.testing.test_main()
