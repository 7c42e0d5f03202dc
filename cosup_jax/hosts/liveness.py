"""Ends a process whose others have died or hang, with a sentence that names the one.

Every process renews a sign of life in the store of JAX's coordination service, and reads those of
the others. The main thread may meanwhile wait in a collective operation that never ends.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOT = "cosup_jax/"
SIGN_S = 2.0  # seconds between two signs of life
PATIENCE_S = 45.0  # without one
PARTED = f"{ROOT}parted/"
_ALIVE, _FAILED, _HEARD = f"{ROOT}alive/", f"{ROOT}failed/", f"{ROOT}heard/"
_PARTING_S = 10.0  # in which the others hear of a failure before JAX does
_GOES_ON = "The same command goes on after the last checkpoint"


def _end(sentence: str) -> None:
    print(f"\n{sentence}", file=sys.stderr, flush=True)
    os._exit(1)


class Watch:
    """Two threads: one speaks with the store, which may hang; the other looks at the clock.

    Args:
      client: the store's.
      process: the number of this process.
      names: of all, for messages.
      end: called with the sentence; ends the process.
    """

    def __init__(
        self,
        client: Any,
        process: int,
        names: Sequence[str],
        end: Callable[[str], None] = _end,
    ) -> None:
        self._client, self._process, self._names, self._end = client, process, names, end
        self._signs: dict[int, str] = {}
        now = time.monotonic()
        self._heard = dict.fromkeys(range(len(names)), now)
        self._spoke = now
        self._over = threading.Event()
        for work in (self._speak, self._judge):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Stops watching."""
        self._over.set()

    def part(self) -> None:
        """Stops watching, and tells the others that this process has done its work."""
        self.close()
        self._client.key_value_set(f"{PARTED}{self._process}", "null")

    def wait(self) -> None:
        """Waits for the verdict on another process, which ends this one; returns without any."""
        self._over.wait(PATIENCE_S + 3 * SIGN_S)

    def tell_failure(self, sentence: str) -> None:
        """Tells the others why this process ends. They end too."""
        self.close()
        with contextlib.suppress(Exception):  # there may be nobody left
            self._client.key_value_set(f"{_FAILED}{self._process}", json.dumps(sentence))
            until = time.monotonic() + _PARTING_S
            while time.monotonic() < until and len(self._read(_HEARD)) < len(self._names) - 1:
                time.sleep(SIGN_S / 10)

    def _speak(self) -> None:
        number = 0
        while not self._over.wait(SIGN_S if number else 0):
            number += 1
            with contextlib.suppress(Exception):  # the clock decides what a lost word means
                self._client.key_value_set(
                    f"{_ALIVE}{self._process}", str(number), allow_overwrite=True
                )
                alive, failed = self._read(_ALIVE), self._read(_FAILED)
                now = time.monotonic()
                for process, sign in alive.items():
                    if self._signs.get(process) != sign:
                        self._signs[process], self._heard[process] = sign, now
                for process in self._read(PARTED):
                    self._heard.pop(process, None)
                self._spoke = now
                for process, told in failed.items():
                    self._client.key_value_set(f"{_HEARD}{self._process}", "", allow_overwrite=True)
                    self._verdict(f"{self._names[process]}, which has ended: {json.loads(told)}")

    def _read(self, folder: str) -> dict[int, str]:
        found = self._client.key_value_dir_get(folder)
        return {int(key.rpartition("/")[2]): value for key, value in found}

    def _judge(self) -> None:
        while not self._over.wait(SIGN_S / 4):
            now = time.monotonic()
            # Without the store nothing is known but that process 0's machine does not answer.
            silent = [0] if now - self._spoke > PATIENCE_S else []
            silent = silent or [
                p for p, heard in list(self._heard.items()) if now - heard > PATIENCE_S
            ]
            others = [p for p in silent if p != self._process]
            if others:
                names = ", ".join(self._names[p] for p in others)
                self._verdict(
                    f"{names}: no sign of life for {PATIENCE_S:.0f} s; it was killed, or hangs"
                )

    def _verdict(self, sentence: str) -> None:
        if not self._over.is_set():
            self._over.set()
            self._end(f"{self._names[self._process]} ends, because of {sentence}. {_GOES_ON}")
