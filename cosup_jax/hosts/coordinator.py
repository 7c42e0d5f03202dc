"""JAX's coordination service in a process of its own, which outlives process 0 for a moment.

Within process 0, as JAX has it, the service dies with it, and JAX ends the others in C++ at once,
before they can say why.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

GRACE_S = 90  # in which the others notice that process 0 is gone
LINGER_S = 10  # in which the others, whose work is done, leave the service
_OVER = "over"
_PROGRAM = f"""
import json, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
from jaxlib import _jax
address, nodes, options = json.loads(sys.argv[1])
service = _jax.get_distributed_runtime_service(address, nodes, **options)
print("serves", flush=True)
time.sleep({LINGER_S} if sys.stdin.readline().strip() == "{_OVER}" else {GRACE_S})
service.shutdown()
"""


class Service:
    """The service's process.

    Args:
      address: that it listens at.
      nodes: how many processes there will be.
      **options: of the service, as JAX gives them.

    Raises:
      RuntimeError: it cannot listen there.
    """

    def __init__(self, address: str, nodes: int, **options: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps([address, nodes, options])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._child.stdout is not None
        if not self._child.stdout.readline():
            raise RuntimeError(f"the coordinator cannot listen at {address}; is the port in use?")

    def shutdown(self) -> None:
        """Lets the service end, once the others have had the time to leave it."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already
            self._child.stdin.write(f"{_OVER}\n")
            self._child.stdin.close()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Inside, `jax.distributed.initialize` starts the service by `Service`."""
    # No public name takes another service.
    from jax._src.lib import _jax

    before = _jax.get_distributed_runtime_service
    _jax.get_distributed_runtime_service = Service
    try:
        yield
    finally:
        _jax.get_distributed_runtime_service = before
