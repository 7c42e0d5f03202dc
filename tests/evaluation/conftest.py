"""What the tests of masks of volumes share."""

import pytest

from cosup_jax.evaluation import whole_volumes


@pytest.fixture
def no_figure(monkeypatch):
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(whole_volumes.figure_files, "save", lambda *_: None)


@pytest.fixture
def pair(tmp_path):
    """One volume, moved by a voxel: Dice 18 / 24."""
    from tests.evaluation.test_saved_volumes import box, save

    save(tmp_path / "pred", "a", box(shift=1))
    save(tmp_path / "truth", "a", box())
    return tmp_path / "pred", tmp_path / "truth"
