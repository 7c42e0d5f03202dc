"""Several processes on one folder of results, each a real one."""

import contextlib
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cosup_jax import locks
from cosup_jax.prediction import cohort
from cosup_jax.scans import find
from tests.prediction.scan_files import (
    Brightest,
    by_scan,
    folders,
    process,
    scan_file,
    slice_folder,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def at_once():
    """A function that makes calls at once, each in a process of its own."""
    command = [sys.executable, "-m", "tests.prediction.sharing"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as zygote:

        def make(*calls):
            given = [(str(out), threshold, [*map(str, paths)]) for out, threshold, paths in calls]
            zygote.stdin.write(f"{json.dumps(given)}\n")
            zygote.stdin.flush()
            return json.loads(zygote.stdout.readline())

        yield make
        zygote.stdin.close()


def test_processes_share_a_cohort_and_each_scan_is_taken_once(tmp_path, at_once):
    out = tmp_path / "out"
    inputs = [scan_file(tmp_path / str(i) / "ct.nii", i) for i in range(9)]
    inputs.append(slice_folder(tmp_path / "pictures"))
    ends = at_once(*[(out, 0.5, inputs)] * 2, (out, 0.5, inputs[:3]), (out, 0.5, inputs[5:]))
    assert [len(end["status"]) for end in ends] == [10, 10, 3, 5], ends
    assert {status for end in ends for status in end["status"]} == {"done"}
    assert sum(end["computed"] for end in ends) == len(inputs)
    assert len(folders(out)) == len(inputs)
    assert {row["status"] for row in by_scan(out).values()} == {"done"}
    assert {row["input"] for row in by_scan(out).values()} == set(map(str, inputs))


def test_processes_of_other_settings_leave_whole_results(tmp_path, at_once):
    out = tmp_path / "out"
    inputs = [scan_file(tmp_path / f"{i}.nii", i) for i in range(6)]
    ends = at_once((out, 0.5, inputs), (out, 0.9, inputs[::-1]))
    assert [end["status"] for end in ends] == [["done"] * 6] * 2, ends
    assert folders(out) == [str(i) for i in range(6)]
    for name, row in by_scan(out).items():
        assert (row["lesion_ml"] == "0.0") == (row["threshold"] == "0.9"), name
        assert (out / name / "mask.nii.gz").exists()


def test_what_a_living_process_works_on_stays_and_what_a_killed_one_left_goes(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    out, path = tmp_path / "out", scan_file(tmp_path / "a.nii")
    work = out / ".0123456789ab.work"
    work.mkdir(parents=True)
    (work / "mask.nii.gz").write_bytes(b"half of it")
    with (out / ".0123456789ab.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process([path], out)
        assert (work / "mask.nii.gz").read_bytes() == b"half of it"
    process([path], out)
    assert folders(out) == ["a"]


def test_a_scan_that_another_process_works_on_is_waited_for_at_the_end(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    out = tmp_path / "out"
    paths = [scan_file(tmp_path / f"{name}.nii", i) for i, name in enumerate("ab")]
    sources, _ = find.find_scans(paths, out)
    out.mkdir()
    lock = out / f".{cohort.place_of(sources[0])}.lock"
    with contextlib.ExitStack() as other:
        fcntl.flock(other.enter_context(lock.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)

        def end(seconds):
            assert list(by_scan(out)) == ["b"]
            lock.unlink()
            other.close()

        monkeypatch.setattr(locks.time, "sleep", end)
        process(paths, out)
    assert "waiting for another process, which works on a in" in capsys.readouterr().err
    assert folders(out) == ["a", "b"]
