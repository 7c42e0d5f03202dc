"""TFDS's own test of lung_phantom, on what `python -m tests.dummy.write` writes."""

import tensorflow_datasets as tfds

from tfds_builders.lung_phantom import lung_phantom_dataset_builder


class LungPhantomTest(tfds.testing.DatasetBuilderTestCase):
    """The phantoms of a few pixels."""

    DATASET_CLASS = lung_phantom_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["tiny"]
    SPLITS = {"train": 12, "validation": 8, "test": 8}


if __name__ == "__main__":
    tfds.testing.test_main()
