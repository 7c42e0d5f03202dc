"""The bar of a training: what it says of speed and of the time left."""

import re
import types

import pytest
from ml_collections import ConfigDict

from cosup_jax.training.progress import ProgressBar

BATCH, STEPS, EPOCHS = 4, 50, 2


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = types.SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: now.seconds)
    return now


def test_a_long_compilation_is_in_neither_the_rate_nor_the_time_left(clock, capsys):
    config = ConfigDict({"batch_size": BATCH, "epochs": EPOCHS})
    bar = ProgressBar(types.SimpleNamespace(config=config, devices=[]), STEPS, done=0)
    clock.seconds += 400  # the first step
    bar.step({"loss": 1.0, "dice": 0.5})
    for _ in range(40):
        clock.seconds += 10
        bar.step({"loss": 1.0, "dice": 0.5})
    bar.close()
    *_, last = re.findall(r"<(\d+):(\d+)[^<]*slices_per_s=([\d.]+)", capsys.readouterr().err)
    minutes, seconds, speed = map(float, last)
    assert speed == pytest.approx(BATCH / 10, rel=0.3)
    assert 60 * minutes + seconds == pytest.approx(10 * (STEPS * EPOCHS - 41), rel=0.1)
