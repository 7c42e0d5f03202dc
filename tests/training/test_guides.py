"""A guide sees slices prepared as those it was trained on, or is refused."""

import pytest
from ml_collections import ConfigDict

from cosup_jax import runs
from cosup_jax.runs.checkpoints import CheckpointError
from cosup_jax.training import start


def of(name, init="", scaling="unit", crop=""):
    data = {"scaling": scaling, "window": (-600.0, 1500.0), "crop": crop, "lungs": False}
    return ConfigDict({"model": {"name": name}, "init": init, "data": data})


@pytest.mark.parametrize("scaling", ["unit", "z_score"])
def test_a_guide_of_another_scaling_is_refused_by_name(scaling, tmp_path, monkeypatch):
    (tmp_path / runs.CONFIG).write_text("{}")
    monkeypatch.setattr(start.runs, "read_config", lambda _: of("infnet", scaling=scaling))
    config = of("guided", str(tmp_path))
    if scaling == "unit":
        start._check_guide(config)
        return
    with pytest.raises(CheckpointError, match=r"data\.scaling='z_score', but here .* 'unit'"):
        start._check_guide(config)


def test_a_guide_of_otherwise_cut_slices_is_refused_by_name(tmp_path, monkeypatch):
    (tmp_path / runs.CONFIG).write_text("{}")
    monkeypatch.setattr(start.runs, "read_config", lambda _: of("infnet", crop="volume"))
    start._check_guide(of("guided", str(tmp_path), crop="volume"))
    with pytest.raises(CheckpointError, match=r"data\.crop='volume', but here .* ''"):
        start._check_guide(of("guided", str(tmp_path)))
