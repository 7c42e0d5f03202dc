"""The score that chooses an epoch: over slices, or over groups of them."""

from types import SimpleNamespace

import grain
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cosup_jax.training import report

ILL = [True, True, True, False, False]
CASES = ["a", "a", "b", "b", "b"]
FALSE = [0, 0, 4, 0, 4]  # pixels marked wrongly; a lesion has four, all of them found


class Slices:
    def __len__(self):
        return len(CASES)

    def __getitem__(self, i):
        mask = np.zeros((4, 4, 1), np.uint8)
        mask[0] = ILL[i]
        image = np.full((4, 4, 1), FALSE[i], np.float32)
        return {"image": image, "mask": mask, "edge": mask, "case_id": CASES[i], "slice_index": i}


def eval_step(_, batch):
    mask, image = (
        np.asarray(batch[name]).reshape(-1, 16).astype(int) for name in ("mask", "image")
    )
    tp, fp = mask.sum(axis=1), image[:, 0]
    return {"tp": tp, "fp": fp, "fn": 0 * tp, "tn": 16 - tp - fp, "loss": 1.0}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ((), (1 + 1 + 2 / 3 + 1 + 0) / 5),
        ((("a", "all", 1), ("b", "infected", 5), ("", "empty", 1)), (1 + 2 / 3 + 1 / 2) / 3),
    ],
)
def test_the_score_is_the_mean_over_slices_or_over_groups(groups, expected):
    config = ConfigDict({"batch_size": 2, "sampling": {"groups": groups}})
    setup = SimpleNamespace(config=config, devices=jax.devices()[:1], eval_step=eval_step)
    found = report.score(setup, None, grain.MapDataset.source(Slices()))
    assert found.dice == pytest.approx(expected)
