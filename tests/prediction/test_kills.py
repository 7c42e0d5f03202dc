"""A cohort that is killed at any moment goes on, and has lost nothing."""

import os
import shutil

import pytest

from cosup_jax import locks
from tests.prediction.scan_files import by_scan, folders, process, scan_file

pytestmark = pytest.mark.usefixtures("fake")


class Killed(BaseException):
    """Stands for the end of the process: nothing is done after it."""


STRIDE = int(os.environ.get("COSUP_KILL_STRIDE", "7"))  # 1 takes every operation
CALLS = ("mkdir", "rename", "replace", "unlink", "rmdir", "open", "write")


def test_a_kill_at_any_file_operation_leaves_a_cohort_that_goes_on(tmp_path, monkeypatch):
    """Another scan is new, one is of other settings, one has other content than before."""
    paths = [scan_file(tmp_path / f"{name}.nii", i) for i, name in enumerate("abc")]
    start, wanted = tmp_path / "start", tmp_path / "wanted"
    process(paths[:2], start, threshold=0.4)
    before = {path.read_bytes() for path in start.rglob("mask.nii.gz")}
    scan_file(paths[1], 9)
    shutil.copytree(start, wanted)
    process(paths, wanted)
    done = by_scan(wanted)
    assert len(done) == 4

    real = {name: getattr(os, name) for name in CALLS}
    count, at = 0, 0

    def counted(name):
        def call(*given, **more):
            nonlocal count
            relevant = name != "open" or given[1] & os.O_CREAT
            count += bool(relevant)
            if count > at:
                raise Killed
            return real[name](*given, **more)

        return call

    kills = 0
    while True:
        at, count = STRIDE * kills + 1, 0
        out = tmp_path / f"out{kills}"
        shutil.copytree(start, out)
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, counted(name))
            try:
                process(paths, out)
            except Killed:
                kills += 1
            else:
                break
        left = {path.read_bytes() for path in out.rglob("mask.nii.gz")}
        assert len(left) >= len(before), f"something was lost by the kill at operation {at}"
        process(paths, out)
        found = by_scan(out)
        assert [name for name in folders(out) if found[name]["status"] == "done"] == ["a", "b", "c"]
        for name in "abc":
            assert found[name]["lesion_ml"] == done[name]["lesion_ml"]
        assert not locks._held
        shutil.rmtree(out)
    assert STRIDE * kills > 50
