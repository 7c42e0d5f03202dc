"""A process ends by SIGTERM or SIGINT with the status that says so, at once or when it can."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cosup_jax import signals

ROOT = Path(__file__).parents[1]

# Says when it is ready, and is then sent signals; nothing waits for a clock.
SCRIPT = """
import gc, os, signal, sys
from cosup_jax import signals
mode = sys.argv[1]
# Where the tests run in the background, a shell has SIGINT ignored, and it would stay so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signals.catch()
if mode != "imports":
    signals.raising()
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
try:
    if mode == "noted":
        with signals.noted():
            ready()
            assert signals.asked() == signal.SIGTERM
            print("step done", flush=True)
            signals.check()
    elif mode == "collecting":
        gc.callbacks.append(lambda *_: gc.callbacks.clear() or ready())
        gc.collect()
        signal.pause()
    elif mode == "deleting":
        type("Deleted", (), {"__del__": lambda self: ready()})()
        signal.pause()
    else:
        ready()
        signal.pause()
except KeyboardInterrupt as error:
    print("cleaned up:", error, flush=True)
    sys.exit(signals.status(error))
"""


def run(mode, *sent):
    command = [sys.executable, "-c", SCRIPT, mode]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    for number in sent:
        process.send_signal(number)
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_imports_end_at_once_and_work_is_cleaned_up(number, status):
    said, told = run("imports", number).communicate(timeout=60)
    assert (said, told) == ("", f"\nended by {number.name}\n")
    process = run("work", number)
    said, told = process.communicate("\n", timeout=60)
    assert said == f"cleaned up: stopped by {number.name}\n"
    assert process.returncode == status
    assert told == ""


@pytest.mark.parametrize("mode", ["collecting", "deleting"])
def test_what_python_drops_ends_the_work_all_the_same(mode):
    said, told = (process := run(mode, signal.SIGTERM)).communicate("\n", timeout=60)
    assert (said, told) == ("cleaned up: stopped by SIGTERM\n", "")
    assert process.returncode == 143


def test_a_signal_may_be_noted_until_a_step_is_done():
    # Twice, as `timeout` and some schedulers do: once to the process, once to its group.
    process = run("noted", signal.SIGTERM, signal.SIGTERM)
    said, _ = process.communicate("\n", timeout=60)
    assert said == "step done\ncleaned up: stopped by SIGTERM\n"
    assert process.returncode == 143


def test_a_second_signal_ends_at_once(monkeypatch):
    ended: list[int] = []

    def end(status):
        ended.append(status)
        raise SystemExit

    times = iter([0.0, 0.1, 5.0])
    monkeypatch.setattr(signals.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(signals, "_state", signals._State())
    monkeypatch.setattr(os, "_exit", end)
    signals.raising()
    reading, writing = os.pipe()
    os.write(writing, bytes([signal.SIGCHLD, *[signal.SIGTERM] * 3]))
    with pytest.raises(SystemExit):
        signals._listen(reading)
    assert ended == [143]
    assert next(times, None) is None


def test_without_catching_nothing_is_changed():
    assert signals.asked() is None
    signals.check()
    assert signals.status(KeyboardInterrupt()) == 130
