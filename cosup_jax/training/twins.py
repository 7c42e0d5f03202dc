"""One picture among the unlabelled slices and those validated on."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from cosup_jax.data import schema, splits
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.data.records import Records
from cosup_jax.training import pseudo


def check(
    builder: tfds.core.DatasetBuilder,
    split: str,
    validation: str,
    settings: Preprocessing,
    exclude: Sequence[str] = (),
) -> None:
    """Refuses an unlabelled slice that is a picture of the validation split, under whatever name.

    The folder of labels, which holds both, would be refused, but only once all are labelled.

    Args:
      builder: a built dataset.
      split: of the unlabelled slices.
      validation: the split validated on.
      settings: how slices are prepared for the network.
      exclude: as of `open_pool`.

    Raises:
      PatientOverlapError: naming both slices.
    """
    left_out = set(map(schema.normal_name, exclude))
    known: dict[bytes, str] = {}
    for example in Records(builder, validation):
        known[_digest(example, settings)] = _place(example)
    for example in tqdm(Records(builder, split), desc=f"comparing {split}", delay=2.0, leave=False):
        patient = schema.normal_name(example["patient_id"].decode())
        twin = None if patient in left_out else known.get(_digest(example, settings))
        # Of one value alone, as beyond the body, pictures of several people may be the same.
        if twin and np.ptp(pseudo.grey_of(example, settings)) > 0:
            to_do = "take one of them out of the data"
            to_do = f"--config.semi.exclude_patients leaves out {patient!r}" if patient else to_do
            raise splits.PatientOverlapError(
                f"--config.semi.unlabelled={split}: {_place(example)} is the picture of {twin} of "
                f"data.validation={validation}; {to_do}"
            )


def _digest(example: Mapping[str, Any], settings: Preprocessing) -> bytes:
    grey = pseudo.grey_of(example, settings)
    return hashlib.sha256(f"{grey.dtype}{grey.shape}".encode() + grey.tobytes()).digest()


def _place(example: Mapping[str, Any]) -> str:
    return f"slice {int(example['slice_index'])} of case {example['case_id'].decode()!r}"
