"""Starts the processes of tests.distributed.worker, two simulated devices each or as asked."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 600  # of a machine that does much else


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Group:
    """Some processes that work together; they are killed at the end of a `with`."""

    def __init__(self, what, folder, processes, *changes, devices=2, each=()):
        flags = f"--xla_force_host_platform_device_count={devices}"
        coordinator = f"127.0.0.1:{free_port()}"
        self.members = []
        for number in range(processes):
            command = [sys.executable, "-m", "tests.distributed.worker", what, str(folder)]
            command += [coordinator, str(processes), str(number), *changes]
            command += each[number] if each else ()
            log = open(Path(folder, f"{what}{processes}-{number}.log"), "w+")  # noqa: SIM115
            self.members.append(
                subprocess.Popen(
                    command,
                    stdout=log if number else subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=os.environ | {"XLA_FLAGS": flags, "PYTHONWARNINGS": ""},
                )
            )
            self.members[-1].log = log

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for one in self.members:
            one.kill()
            one.wait()
            one.log.close()
        self.members[0].stdout.close()

    def until(self, text):
        """Reads what the first says up to a line with `text`."""
        for line in self.members[0].stdout:
            if text in line:
                return line
        pytest.fail(f"never said {text!r}: {self.said(0)}")

    def signal(self, process, number):
        self.members[process].send_signal(number)

    def ends(self, *processes):
        """Waits for these, or all, and returns their exit codes."""
        chosen = processes or range(len(self.members))
        rest = self.members[0].stdout.read() if 0 in chosen else ""
        codes = [self.members[i].wait(TIMEOUT_S) for i in chosen]
        self.rest = rest
        return codes

    def said(self, process):
        log = self.members[process].log
        log.flush()
        return Path(log.name).read_text()


def do(what, folder, processes, *changes, devices=2):
    """Lets a group do its work, and returns what the first said."""
    with Group(what, folder, processes, *changes, devices=devices) as group:
        codes = group.ends()
        assert codes == [0] * processes, "\n".join(map(group.said, range(processes)))
        return group.rest


STOP, KILL, TERM = signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM
