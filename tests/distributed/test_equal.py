"""One run by one, two and four processes: the same weights, figures and tables."""

import numpy as np
import pytest

from cosup_jax.runs import logs, stored
from tests.distributed.launch import do

pytestmark = pytest.mark.processes
# Of three steps each.
ONE, TWO = "--config.epochs=1", "--config.epochs=2"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same two epochs on four devices: of one process; of two, then four; of four."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("one", "changing", "four")}
    do("train", found["one"], 1, TWO, devices=4)
    do("train", found["changing"], 2, ONE, devices=2)
    do("train", found["changing"], 4, TWO, devices=1)
    do("train", found["four"], 4, TWO, devices=1)
    return found


def weights(folder, epoch):
    arrays = stored.read(stored.look(folder / "run" / "checkpoints", epoch))
    return {name: a for name, a in arrays.items() if a.dtype == np.float32}


@pytest.mark.parametrize("name", ["changing", "four"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_weights_do_not_depend_on_the_processes(folders, name, epoch):
    expected, found = (weights(folders[which], epoch) for which in ("one", name))
    assert expected.keys() == found.keys()
    for array, wanted in expected.items():
        error = np.abs(found[array] - wanted).max()
        assert error <= 1e-5 * max(np.abs(wanted).max(), 1e-3), array


def test_losses_do_not_depend_on_the_processes(folders):
    rows = {name: logs.read_metrics(folder / "run") for name, folder in folders.items()}
    for name in ("train/loss", "validation/loss", "validation/dice"):
        for which in ("changing", "four"):
            found = [row[name] for row in rows[which]]
            expected = [row[name] for row in rows["one"]]
            np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=f"{which} {name}")


def test_tables_do_not_depend_on_the_processes(folders):
    for processes in (1, 2, 4):
        do("evaluate", folders["one"], processes, devices=1)
    expected, *others = (folders["one"] / f"evaluated{n}" for n in (1, 2, 4))
    for name in ("per_slice.csv", "per_case.csv", "per_volume.csv", "summary.json"):
        for other in others:
            assert (other / name).read_text() == (expected / name).read_text()
