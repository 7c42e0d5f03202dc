"""SIGTERM and SIGINT: what is in progress ends cleanly, and the exit status says so.

A process that calls `catch` first thing ends

- at once while it imports and reads its command line, where nothing has to be cleaned up;
- by the exception `Stopped` once `raising` was called: files are whole anyway, and folders of
  unfinished work are taken away on its way up;
- where the work says so, inside `noted`: the signal is noted, and the work asks for it (`asked`,
  `check`) between two steps, so that it can keep what it has.

A second signal ends the process at once, also amid a compilation. Without `catch`, as in a program
that uses this package, nothing is changed: `asked` answers None.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)
_AT_ONCE, _RAISE, _NOTE = "at once", "raise", "note"
_ONE_S = 0.3  # `timeout` and some schedulers send a signal to the process and to its group
_AGAIN_S = 0.01  # until what was dropped is raised again


class Stopped(KeyboardInterrupt):
    """The process was asked to end.

    Attributes:
      signal: by which signal.
      status: the exit status that says so: 130 or 143.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.status = 128 + number
        super().__init__(f"stopped by {self.signal.name}")


class _State:
    mode = _AT_ONCE
    number: int | None = None
    since: float | None = None  # when the first signal was heard of
    shared = False
    agreed = False


_state = _State()


def status(error: KeyboardInterrupt) -> int:
    """Returns the exit status of a process that ends by this exception."""
    return error.status if isinstance(error, Stopped) else 128 + signal.SIGINT


def catch() -> None:
    """Takes over both signals; one that is ignored, as under `nohup`, stays so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # A thread hears of a signal also while the main thread is long in a library.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_listen, args=(reading,), daemon=True).start()
    _raise_again_what_is_dropped()
    for number in CAUGHT:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def raising() -> None:
    """From here on the first signal raises `Stopped` in the main thread."""
    _state.mode = _RAISE
    check()


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Inside, a signal is only noted, for `asked` and `check`; before and after as it was."""
    before, _state.mode = _state.mode, _NOTE
    try:
        yield
    finally:
        _state.mode = before


def asked() -> int | None:
    """Returns the number of the signal by which the process was asked to end, or None."""
    return _state.number


def check() -> None:
    """Raises `Stopped` if the process was asked to end."""
    if _state.number is not None:
        raise Stopped(_state.number)


def share() -> None:
    """Several processes work together, and JAX has taken over SIGTERM to tell them all of it.

    A SIGINT inside `noted` is then passed on to it; that all were told is noted by the work itself.
    """
    _state.shared = True


def note_terminated() -> None:
    """Notes that all processes were told to end."""
    _state.number, _state.agreed = _state.number or signal.SIGTERM, True


def is_agreed() -> bool:
    """Whether all of several processes end together."""
    return _state.agreed


def _handle(number: int, frame: object) -> None:
    if _state.shared and _state.mode == _NOTE:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    first = _state.number is None
    _state.number = _state.number or number
    if first and _state.mode == _RAISE:
        raise Stopped(number)


def _raise_again_what_is_dropped() -> None:
    """Python only prints what is raised in a destructor, or as garbage is collected (JAX does)."""
    before = sys.unraisablehook

    def hook(told: Any) -> None:
        if not isinstance(told.exc_value, Stopped):
            before(told)
            return
        # Later, since here it would be dropped as well; if it is then, it comes here again.
        later = threading.Timer(_AGAIN_S, _send_again, [told.exc_value.signal])
        later.daemon = True
        later.start()

    sys.unraisablehook = hook


def _send_again(number: int) -> None:
    _state.number = _state.since = None
    os.kill(os.getpid(), number)


def _listen(reading: int) -> None:
    while True:
        number = os.read(reading, 1)[0]
        if number not in CAUGHT:
            continue
        now = time.monotonic()
        _state.since = now if _state.since is None else _state.since
        if _state.mode == _AT_ONCE or now - _state.since > _ONE_S:
            os.write(2, f"\nended by {signal.Signals(number).name}\n".encode())
            os._exit(128 + number)
