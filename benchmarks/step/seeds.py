"""Times a training step of several seeds together, as one program, against one after another.

    python benchmarks/step/seeds.py --seeds 3 --size 256 --width 64 --batch 8

ResUNet_C2F with its joint loss and Adam, on all of which both forms take turns in one run, so that
their ratio holds on a noisy machine. Prints the times, their ratio and the compilation times.
`train.py --seeds` takes the first form on GPUs and the second on CPUs.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cosup_jax import devices, losses, models
from cosup_jax.runs.state import TrainState, create_state, make_optimizer
from cosup_jax.training.step import parallel_train_step


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("seeds", 3), ("size", 256), ("width", 64), ("batch", 8), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--blocks", type=int, nargs=4, default=[3, 4, 6, 3])
    arguments = parser.parse_args()
    on = devices.choose_devices(1, arguments.batch)
    settings = {"width": arguments.width, "blocks": tuple(arguments.blocks)}
    model = models.build("cosup", **settings, axis_name=devices.AXIS)
    optimizer = make_optimizer(1e-4)
    mapped = parallel_train_step(losses.build("joint"), on)
    batches = tuple(_batch(arguments, seed, on) for seed in range(arguments.seeds))

    def start() -> tuple[TrainState, ...]:
        size = (arguments.size, arguments.size)
        made = (create_state(model, optimizer, size=size, seed=s) for s in range(arguments.seeds))
        return tuple(devices.replicate(state, on) for state in made)

    def in_turn(states: Any) -> Any:
        return tuple(mapped(s, b)[0] for s, b in zip(states, batches, strict=True))

    def together(states: Any) -> Any:
        return mapped(states, batches)[0]

    forms: dict[str, Callable] = {"one after another": in_turn, "together": together}
    states = {name: start() for name in forms}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.rounds + 1):
        for name, form in forms.items():
            started = time.perf_counter()
            states[name] = jax.block_until_ready(form(states[name]))
            times[name].append(time.perf_counter() - started)
    print(
        f"{arguments.seeds} seeds of C2F, {arguments.size}², width {arguments.width}, batch "
        f"{arguments.batch} each, on {on[0].device_kind}"
    )
    for name, (first, *rest) in times.items():
        print(
            f"{name:<18} {statistics.median(rest):8.3f} s a step (fastest {min(rest):.3f}), "
            f"first step with compilation {first:.1f} s"
        )
    ratios = [a / b for a, b in zip(*(values[1:] for values in times.values()), strict=True)]
    print(f"one after another / together: {statistics.median(ratios):.2f}")


def _batch(arguments: argparse.Namespace, seed: int, on: list[jax.Device]) -> Any:
    rng = np.random.default_rng(seed)
    shape = (arguments.batch, arguments.size, arguments.size, 1)
    mask = (rng.random(shape) < 0.1).astype(np.uint8)
    image = rng.normal(size=shape).astype(np.float32)
    return devices.shard({"image": image, "mask": mask, "edge": mask}, on)


if __name__ == "__main__":
    main()
