"""What Orbax's manager does of itself, and must not."""

import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.experimental import multihost_utils

from cosup_jax.runs import stored
from cosup_jax.runs.keeper import Keeper


def test_saving_leaves_the_word_to_end_to_the_training_loop(tmp_path, monkeypatch):
    def heard(number):
        pytest.fail(f"asked for checkpoint {number}, and the loop would not hear it any more")

    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", heard)
    with Keeper(tmp_path) as manager:
        for number in (1, 2):
            args = ocp.args.Composite(state=ocp.args.StandardSave({"a": np.ones(2)}))
            manager.save(number, args=args, metrics={stored.MERIT: 0.5})
    assert stored.listed(tmp_path) == [1, 2]
