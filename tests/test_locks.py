"""One owner at a time, also where another machine's locks cannot be seen."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosup_jax import files, locks

pytestmark = pytest.mark.usefixtures("synced")
OTHER = {"host": "node7", "process": 12, "machine": "another kernel", "alive": "2020-01-01"}


@contextlib.contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """Holds the kernel's lock by another open file, as another process would."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@pytest.fixture
def sleeps(monkeypatch) -> list:
    """What happens while the package sleeps, which takes no time: a call each, then nothing."""
    waiting: list = []
    monkeypatch.setattr(locks.time, "sleep", lambda s: waiting.pop(0)() if waiting else None)
    return waiting


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path):
    path = tmp_path / "run" / ".lock"
    with locks.lock(path, "the run"):
        sign = json.loads(path.read_bytes())
        assert sign["process"] == os.getpid()
        assert sign["host"]
        assert sign["alive"]
        with locks.lock(path, "the run"):  # its own
            pass
        assert path.read_bytes()
    assert path.read_bytes() == b""
    path.write_text(json.dumps(OTHER))
    with (
        held_elsewhere(path),
        pytest.raises(locks.LockedError, match="process 12 on node7"),
        locks.lock(path, "the run"),
    ):
        pass
    assert issubclass(locks.LockedError, files.FileError)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path, sleeps):
    path = tmp_path / ".lock"
    with locks.lock(path, "it"):
        left = path.read_bytes()
    path.write_bytes(left)
    sleeps.append(lambda: pytest.fail("waited for a process of this machine"))
    with locks.lock(path, "it"):
        pass


def test_who_waits_is_told_and_goes_on_when_the_other_has_ended(tmp_path, sleeps, capsys):
    path = tmp_path / ".lock"
    with contextlib.ExitStack() as other:
        other.enter_context(held_elsewhere(path))
        sleeps += [lambda: None, other.close]
        with locks.lock(path, "the build", wait=True):
            assert files.try_lock(os.open(path, os.O_RDWR)) is False
    assert capsys.readouterr().err == "waiting for another process, which works on the build\n"


def test_a_living_process_on_another_machine_keeps_its_lock(tmp_path, sleeps):
    path = tmp_path / ".lock"
    path.write_text(json.dumps(OTHER))
    sleeps += [lambda: None, lambda: path.write_text(json.dumps(OTHER | {"alive": "later"}))]
    with pytest.raises(locks.LockedError, match="node7"), locks.lock(path, "it"):
        pass


def test_a_dead_process_on_another_machine_does_not(tmp_path, sleeps, capsys):
    path = tmp_path / ".lock"
    path.write_text(json.dumps(OTHER))
    with locks.lock(path, "it"):
        assert json.loads(path.read_bytes())["process"] == os.getpid()
    assert "last worked on by process 12 on node7" in capsys.readouterr().err


def test_one_that_ends_while_it_is_watched_frees_the_lock(tmp_path, sleeps):
    path = tmp_path / ".lock"
    path.write_text(json.dumps(OTHER))
    sleeps.append(lambda: path.write_text(""))
    with locks.lock(path, "it"):
        pass


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch, sleeps, capsys):
    def unknown(*given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    path = tmp_path / ".lock"
    with locks.lock(path, "it"):
        left = path.read_text()
    assert "this file system has no locks" in capsys.readouterr().err
    path.write_text(left)  # of a process that lives, on this machine or another
    sleeps.append(lambda: path.write_text(left.replace("T", " ")))
    with pytest.raises(locks.LockedError, match=str(os.getpid())), locks.lock(path, "it"):
        pass


def test_a_damaged_sign_of_life_is_watched_too(tmp_path, sleeps):
    path = tmp_path / ".lock"
    path.write_bytes(b"\xff{")
    with locks.lock(path, "it"):
        pass


def test_a_lock_among_results_leaves_nothing_and_has_one_holder_all_the_same(tmp_path, sleeps):
    """One that waits for a file which its holder takes away must not hold what nobody sees."""
    path = tmp_path / ".scan.lock"
    with contextlib.ExitStack() as other:
        other.enter_context(held_elsewhere(path))

        def end():
            path.unlink()
            other.close()

        sleeps += [lambda: None, end]
        with locks.lock(path, "the scan", wait=True, remove=True):
            assert files.try_lock(os.open(path, os.O_RDWR)) is False
            with locks.lock(path, "the scan", remove=True):  # its own
                pass
            assert path.exists()
    assert list(tmp_path.iterdir()) == []
