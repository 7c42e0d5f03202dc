"""Several processes that do one piece of work: who they are, what they tell, who is gone.

`processes` has what they say, `liveness` watches over them, `coordinator` keeps what was said.
"""

from cosup_jax.hosts.processes import (
    HostsError,
    Place,
    compare,
    count,
    gather,
    in_turn,
    index,
    is_first,
    meet,
    name_of,
    place,
    stop_asked,
    tell,
    together,
)

__all__ = [
    "HostsError",
    "Place",
    "compare",
    "count",
    "gather",
    "in_turn",
    "index",
    "is_first",
    "meet",
    "name_of",
    "place",
    "stop_asked",
    "tell",
    "together",
]
