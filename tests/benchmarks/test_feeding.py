"""What the benchmark of feeding counts is what the training loop does."""

import json

from benchmarks.data import feeding
from tests.phantoms import tiny_config


def test_every_watched_epoch_takes_its_steps(tiny_run, tmp_path):
    config = tiny_config(tiny_run.parent / "tfds")
    measured = feeding.measure(config, tmp_path / "run", 2)
    assert measured["steps"] == 2 * (12 // config.batch_size)
    assert 0 <= measured["waiting"] <= 1
    assert measured["slices_per_s"] > 0 < measured["slices_per_s_one_batch"]
    json.dumps(measured)
