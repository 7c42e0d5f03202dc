"""Who the processes are, and what they tell each other.

`start` joins this process to the others through JAX's coordination service.
Without it there is one process, the first, and everything here returns at once. Values that are
told are JSON. Waiting has no limit: `liveness` ends a process whose others are gone.
Command lines import this module, so JAX is imported where it is called.
"""

import atexit
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cosup_jax import errors, signals
from cosup_jax.hosts import coordinator, liveness

_HOW = "give --coordinator=HOST:PORT --processes=N --process=I, I from 0 to N - 1"
_TOLD = f"{liveness.ROOT}told/"
_JOIN_S = 300  # until all processes must have been started
_ASK_S = 20  # one question to the coordinator; it is asked again
# What collective operations say when another process has gone.
_OTHERS_FAULT = ("gloo", "nccl", "peer", "barrier", "coordination", "heartbeat", "socket", "rpc")


class HostsError(ValueError):
    """The processes cannot work together; the message names the one that differs."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of several processes this one is; all None where the launcher tells it to JAX.

    Attributes:
      coordinator: HOST:PORT of process 0.
      processes: how many there are.
      process: the number of this one, from 0.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


class _State:
    names: tuple[str, ...] = ("here",)
    process = 0
    watch: liveness.Watch | None = None
    told = itertools.count()
    asked = itertools.count()


_state = _State()


def place(
    distributed: bool, coordinator: str | None, processes: int | None, process: int | None
) -> Place | None:
    """Returns what a command line says of several processes; None where it asks for one alone.

    Raises:
      HostsError: it says a part of it only, or what cannot be.
    """
    given = (coordinator, processes, process)
    if coordinator is None or processes is None or process is None:
        if any(value is not None for value in given):
            raise HostsError(f"--coordinator, --processes and --process belong together; {_HOW}")
        return Place() if distributed else None
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise HostsError(f"--coordinator={coordinator}: expected HOST:PORT, such as node01:12345")
    if not 0 <= process < processes:
        raise HostsError(f"--process={process} of --processes={processes}: {_HOW}")
    return Place(coordinator, processes, process)


def start(where: Place) -> None:
    """Joins the other processes; call it before anything asks for a device.

    From here on process 0 alone writes to standard output.

    Raises:
      HostsError: no launcher is found, or not all processes came.
    """
    import jax

    # A lost process shall be an exception here, not the end of this one in C++.
    jax.config.update("jax_enable_recoverability", True)
    try:
        with coordinator.apart():
            jax.distributed.initialize(
                where.coordinator, where.processes, where.process, initialization_timeout=_JOIN_S
            )
    except (ValueError, RuntimeError) as error:
        told = f"{errors.sentence(error)}; {_HOW}"
        if "should be defined" in str(error) or "must be defined" in str(error):
            told = f"--distributed found no launcher that JAX knows (Slurm, MPI, …); {_HOW}"
        raise HostsError(told) from error
    _state.process, number = jax.process_index(), jax.process_count()
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if number == 1:
        return
    signals.share()
    _state.names = ("",) * number
    _state.names = tuple(gather(socket.gethostname()))
    _state.watch = liveness.Watch(_client(), _state.process, [name_of(i) for i in range(number)])
    compare_code()
    print(f"{number} processes: {', '.join(f'{i} on {n}' for i, n in enumerate(_state.names))}")


def count() -> int:
    """Returns how many processes there are."""
    return len(_state.names)


def index() -> int:
    """Returns the number of this process."""
    return _state.process


def is_first() -> bool:
    """Whether this process is the one that writes: files, tables, pictures, words."""
    return _state.process == 0


def name_of(process: int) -> str:
    """Returns how a process is called in messages."""
    return f"process {process} of {count()} on {_state.names[process]}"


def tell(value: Any) -> Any:
    """Returns process 0's value in all processes; all must call it."""
    if count() == 1:
        return value
    key = str(next(_state.told))
    if is_first():
        _put(key, value)
        return value
    return _get(_TOLD + key)


def gather(value: Any) -> list[Any]:
    """Returns the values of all processes, in their order; all must call it."""
    if count() == 1:
        return [value]
    key = str(next(_state.told))
    _put(f"{key}/{index()}", value)
    return [_get(f"{_TOLD}{key}/{i}") for i in range(count())]


def meet() -> None:
    """Returns when all processes have come here."""
    gather(None)


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Lets process 0 run the block alone, then the others, who find what it has left.

    What process 0 raises inside, the others may meet themselves: they come in all the same.
    """
    if not is_first():
        tell(None)
    try:
        yield
    finally:
        if is_first():
            tell(None)


def compare(what: str, mine: Mapping[str, Any]) -> None:
    """Refuses processes that do not have the same of something.

    Args:
      what: it is, for the message: `configuration`.
      mine: its parts by name; what they hold must be the same everywhere.

    Raises:
      HostsError: they differ; the processes and parts are named.
    """
    digests = {name: _digest(value) for name, value in mine.items()}
    first, *others = gather(digests)
    for process, theirs in enumerate(others, start=1):
        if theirs != first:
            names = sorted(n for n in first | theirs if first.get(n) != theirs.get(n))
            raise HostsError(
                f"{name_of(process)} has another {what} than {name_of(0)}: "
                f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}; start all with the same"
            )


def compare_code() -> None:
    """Refuses processes with other sources of this package. See `compare`."""
    top = Path(__file__).parents[1]
    sources = {p.relative_to(top).as_posix(): p.read_text() for p in sorted(top.rglob("*.py"))}
    compare("code", sources)


def stop_asked() -> bool:
    """Whether to end before the next step; all processes hear it before the same one.

    Of several processes, a SIGTERM to any is a word to all. All must call it equally often.
    """
    if count() > 1:
        from jax.experimental import multihost_utils

        if multihost_utils.reached_preemption_sync_point(next(_state.asked)):
            signals.note_terminated()
    return signals.asked() is not None


@contextlib.contextmanager
def together(where: Place | None) -> Iterator[None]:
    """Does the work of the block as one of several processes, of one where `where` is None.

    At its end the processes part. What this process raises ends the others, who then say it; what
    is another's fault ends this one with a sentence that names it.
    """
    if where is None:
        yield
        return
    start(where)
    try:
        yield
    except signals.Stopped:
        if _state.watch is not None and signals.is_agreed():
            part()
        else:
            _fail("it was stopped")
        raise
    except BaseException as error:
        _fail(errors.sentence(error), waiting=_is_of_others(error))
        raise
    part()


def part() -> None:
    """Leaves the others when this process's work is done; process 0 waits until all have."""
    import jax

    if _state.watch is not None:
        if is_first():  # the coordinator goes last
            for process in range(1, count()):
                _get(f"{liveness.PARTED}{process}")
        _state.watch.part()
    jax.distributed.shutdown()


def _fail(sentence: str, *, waiting: bool = False) -> None:
    """Tells the others why this process ends; with `waiting` looks first for the one to blame."""
    if _state.watch is not None:
        if waiting:
            _state.watch.wait()
        _state.watch.tell_failure(sentence)
    # JAX would wait for the others at the end of the process, who never come.
    atexit.register(_leave)


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _is_of_others(error: BaseException) -> bool:
    # JAX's own error is a RuntimeError.
    of_jax = isinstance(error, ValueError | RuntimeError)
    return of_jax and any(word in str(error).lower() for word in _OTHERS_FAULT)


def _client() -> Any:
    # The service's own store, by which JAX and Orbax find each other too; no public name has it.
    from jax._src.distributed import global_state

    return global_state.client


def _put(key: str, value: Any) -> None:
    _client().key_value_set(_TOLD + key, json.dumps(value))


def _get(key: str) -> Any:
    while True:
        try:
            return json.loads(_client().blocking_key_value_get(key, _ASK_S * 1000))
        except RuntimeError as error:  # JAX's own is one
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
