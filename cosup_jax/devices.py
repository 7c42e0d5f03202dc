"""The only file that knows of devices: which ones, how a batch is spread, how a step is mapped.

Where several processes work together (`hosts`), a list of devices has those of all of them, in the
processes' order, and each process holds its own block of a batch.
"""

import collections
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cosup_jax import hosts

AXIS = "devices"
# In which launchers say how many processes they have started: Slurm for a step, MPI.
_RANKS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


class DeviceError(ValueError):
    """The devices at hand do not fit what is asked of them."""


def choose_devices(count: int, batch_size: int, field: str = "batch_size") -> list[jax.Device]:
    """Returns the devices to train on, of all processes.

    Args:
      count: how many in all; 0 takes all.
      batch_size: slices in a batch; the devices must divide it.
      field: of the configuration, which has the batch size.

    Raises:
      DeviceError: there are fewer devices, they do not divide the batch, processes have differently
        many, or several processes were started together that know nothing of each other.
    """
    _check_alone()
    found = jax.devices()
    each = [[d for d in found if d.process_index == i] for i in range(hosts.count())]
    numbers = [len(there) for there in each]
    if len(set(numbers)) > 1:
        raise DeviceError(
            f"the processes have {', '.join(map(str, numbers))} devices; give each as many"
        )
    if count % len(each):
        raise DeviceError(
            f"--config.devices={count} is not divided by {len(each)} processes; give the devices "
            "of all, or 0"
        )
    share = count // len(each) or numbers[0]
    if share > numbers[0]:
        raise DeviceError(f"--config.devices={count}, but there are {sum(numbers)} here")
    chosen = [device for there in each for device in there[:share]]
    if batch_size % len(chosen):
        raise DeviceError(
            f"a batch of {batch_size} slices is not divided by {len(chosen)} devices; give a "
            f"multiple with --config.{field}, or fewer devices with --config.devices"
        )
    return chosen


def _check_alone() -> None:
    """Refuses one of several processes that were started together without being told of it."""
    for name in _RANKS:
        tasks = os.environ.get(name, "")
        if hosts.count() == 1 and tasks.isdecimal() and int(tasks) > 1:
            raise DeviceError(
                f"{name}={tasks}: this is one of several processes that were started together, and "
                "each would train the same run; give train --distributed, and they train one run "
                "together, or start one process, as with `srun -n 1`"
            )
    if jax.process_count() != hosts.count():
        raise DeviceError(
            f"this program has joined {jax.process_count()} processes by itself; let `hosts.start` "
            "do that"
        )


def map_train_step(step: Callable, devices: Sequence[jax.Device]) -> Callable:
    """Returns a training step over all devices; the state it is given is used up (donated).

    The metrics come back once per device, all equal: `first` takes one of them to the host.

    Args:
      step: a function of a state, one device's share of the batch, and `axis_name`, that returns
        the next state and metrics, the same on every device.
      devices: the devices.
    """
    return jax.pmap(
        functools.partial(step, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, 0),
        donate_argnums=(0,),
        devices=devices,
    )


def map_eval_step(
    step: Callable, devices: Sequence[jax.Device]
) -> Callable[[Any, Mapping[str, jax.Array]], dict[str, np.ndarray]]:
    """Returns an evaluation step over all devices, its per-slice results in the batch's order.

    Every process gets the results of the whole batch.

    Args:
      step: a function of a state, one device's share of the batch, and `axis_name`, that returns
        (B,) arrays and the scalar `loss`, which is the same on every device.
      devices: the devices.
    """

    def gathered(state: Any, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        results = step(state, batch, axis_name=AXIS)
        return {name: jax.lax.all_gather(value, AXIS) for name, value in results.items()}

    mapped = jax.pmap(gathered, axis_name=AXIS, in_axes=(None, 0), out_axes=None, devices=devices)

    def run(state: Any, batch: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
        results = jax.device_get(mapped(state, batch))
        loss_value = results.pop("loss")[0]
        return {name: value.reshape(-1) for name, value in results.items()} | {"loss": loss_value}

    return run


def memory(mapped: Any, state: Any, batch: Mapping[str, Any], devices: Sequence[jax.Device]) -> int:
    """Returns the bytes a mapped step needs on one device, as its compiler counts them.

    Args:
      mapped: from `map_train_step`.
      state: the train state.
      batch: shapes and types of a host batch.
      devices: the devices of `mapped`.
    """
    n = len(devices)
    shapes = {
        name: jax.ShapeDtypeStruct((n, v.shape[0] // n, *v.shape[1:]), v.dtype)
        for name, v in batch.items()
    }
    found = mapped.lower(state, shapes).compile().memory_analysis()
    # The next state takes the place of the one it is given (donated).
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.argument_size_in_bytes + results + found.temp_size_in_bytes


def platform() -> str:
    """Returns what kind of device the first one is: `cpu`, `gpu` or `tpu`."""
    return jax.local_devices()[0].platform


def at_once() -> int:
    """Returns how many threads use the first device best: two, or one for each core of a CPU."""
    if platform() != "cpu":
        return 2  # so that the device computes while the next batch is prepared
    cores = getattr(os, "sched_getaffinity", None)  # those this process may use; Linux alone tells
    return len(cores(0)) if cores else os.cpu_count() or 1


def free_memory() -> int:
    """Returns the bytes left on the first device; of a CPU, those of the whole machine."""
    device = jax.local_devices()[0]
    if stats := device.memory_stats():
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def first(metrics: Mapping[str, jax.Array]) -> dict[str, float]:
    """Returns the scalars of a step's metrics, which are the same on every device."""
    return {name: float(value[0]) for name, value in jax.device_get(dict(metrics)).items()}


def gather(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all processes, (processes, …); every one must call it."""
    if hosts.count() == 1:
        return array[None]
    return np.asarray(multihost_utils.process_allgather(array))


def own_block(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the block of a whole batch that this process holds."""
    share, first = hosts.count(), hosts.index()
    return {
        name: value[first * len(value) // share : (first + 1) * len(value) // share]
        for name, value in batch.items()
    }


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts one logical copy of a tree on all devices of this process."""
    return jax.device_put(tree, _sharding(devices))


def shard(batch: Mapping[str, np.ndarray], devices: Sequence[jax.Device]) -> dict[str, jax.Array]:
    """Spreads this process's batch (B, ...) over its devices as (devices, B / devices, ...).

    Raises:
      DeviceError: the devices do not divide the batch.
    """
    here = len(_own(devices))
    split = {}
    for name, value in batch.items():
        if len(value) % here:
            raise DeviceError(f"a batch of {len(value)} slices is not divided by {here} devices")
        split[name] = value.reshape(here, -1, *value.shape[1:])
    return jax.device_put(split, _sharding(devices, AXIS))


def prefetch(
    batches: Iterable[Mapping[str, np.ndarray]], devices: Sequence[jax.Device], ahead: int = 2
) -> Iterator[dict[str, jax.Array]]:
    """Yields batches on the devices, with the next `ahead` of them already on their way."""
    source = (shard(batch, devices) for batch in batches)
    waiting = collections.deque(itertools.islice(source, ahead))
    while waiting:
        yield waiting.popleft()
        waiting.extend(itertools.islice(source, 1))


def _own(devices: Sequence[jax.Device]) -> list[jax.Device]:
    return [device for device in devices if device.process_index == hosts.index()]


def _sharding(devices: Sequence[jax.Device], *axes: str) -> jax.sharding.NamedSharding:
    mesh = jax.sharding.Mesh(np.asarray(_own(devices)), (AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
