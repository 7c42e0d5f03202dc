"""TFDS's own test of covid_ct_seg, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.covid_ct_seg import covid_ct_seg_dataset_builder


class CovidCtSegTest(tfds.testing.DatasetBuilderTestCase):
    """The first fold; the others differ in who is in which split."""

    DATASET_CLASS = covid_ct_seg_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["fold0"]
    SPLITS = {"train": 9, "validation": 6, "test": 12}


if __name__ == "__main__":
    tfds.testing.test_main()
