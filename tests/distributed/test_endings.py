"""Several processes of which one dies, hangs, is told to end, or is started with something else."""

import pytest

from cosup_jax.runs import stored
from tests.distributed.launch import KILL, STOP, TERM, Group, do

pytestmark = pytest.mark.processes
MANY = "--config.epochs=1000"


@pytest.mark.parametrize(("hit", "number", "left"), [(1, KILL, 0), (0, KILL, 1), (1, STOP, 0)])
def test_who_is_left_ends_with_a_sentence_that_names_the_lost_one(tmp_path, hit, number, left):
    with Group("train", tmp_path, 2, MANY) as group:
        group.until("epoch 1:")
        group.signal(hit, number)
        assert group.ends(left) == [1]
        told = group.said(left)
    assert f"process {left} of 2" in told
    assert f"because of process {hit} of 2" in told
    assert "The same command goes on after the last checkpoint" in told
    assert "Traceback" not in told


def test_a_signal_to_one_ends_all_behind_the_same_step_and_the_same_command_goes_on(tmp_path):
    with Group("train", tmp_path, 2, MANY) as group:
        group.until("epoch 1:")
        group.signal(1, TERM)
        assert group.ends() == [143, 143]
    kept = stored.listed(tmp_path / "run" / "checkpoints")
    inside = stored.listed(tmp_path / "run" / "interrupted")
    assert kept or inside
    done = kept[-1] if kept else 0
    said = do("train", tmp_path, 2, f"--config.epochs={done + 1}")
    assert f"going on after epoch {done}" in said
    assert f"trained {done + 1} epochs" in said


def test_another_configuration_of_one_is_named_before_the_first_step(tmp_path):
    each = ((), ("--config.learning_rate=0.5",))
    with Group("train", tmp_path, 2, each=each) as group:
        assert group.ends() == [1, 1]
        told = group.said(0) + group.said(1)
    assert "process 1 of 2" in told
    assert "has another configuration than process 0 of 2" in told
    assert "learning_rate" in told
    assert not (tmp_path / "run" / "checkpoints").exists()
