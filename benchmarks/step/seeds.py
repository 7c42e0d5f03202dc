"""Times a training step of several seeds as one program (`jax.vmap`), and one after another.

    python benchmarks/step/seeds.py --seeds 3 --size 256 --width 64 --batch 8

ResUNet_C2F with its joint loss and Adam, on all of which both forms take turns in one run, so that
their ratio holds on a noisy machine. Prints the times, their ratio and the compilation times.
`train.py --seeds` takes the second form: on CPUs it is faster, and compiled for a GPU it moves
fewer bytes (docs/performance.md).
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax import losses, models
from cosup_jax.runs.state import create_state, make_optimizer
from cosup_jax.training.step import train_step


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("seeds", 3), ("size", 256), ("width", 64), ("batch", 8), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--blocks", type=int, nargs=4, default=[3, 4, 6, 3])
    arguments = parser.parse_args()
    settings = {"width": arguments.width, "blocks": tuple(arguments.blocks)}
    model, optimizer = models.build("cosup", **settings), make_optimizer(1e-4)
    step = functools.partial(train_step, loss=losses.build("joint"))
    alone = jax.jit(step, donate_argnums=0)
    as_one = jax.jit(jax.vmap(step), donate_argnums=0)
    batches = [_batch(arguments, seed) for seed in range(arguments.seeds)]
    stacked = _stack(batches)

    def start() -> list[Any]:
        size = (arguments.size, arguments.size)
        one = create_state(model, optimizer, size=size, seed=0)
        return [jax.tree.map(jnp.array, one) for _ in range(arguments.seeds)]

    def in_turn(states: Any) -> Any:
        return [alone(state, batch)[0] for state, batch in zip(states, batches, strict=True)]

    def together(states: Any) -> Any:
        return as_one(states, stacked)[0]

    forms: dict[str, Callable] = {"one after another": in_turn, "together": together}
    states: dict[str, Any] = {"one after another": start(), "together": _stack(start())}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.rounds + 1):
        for name, form in forms.items():
            started = time.perf_counter()
            states[name] = jax.block_until_ready(form(states[name]))
            times[name].append(time.perf_counter() - started)
    print(
        f"{arguments.seeds} seeds of C2F, {arguments.size}², width {arguments.width}, batch "
        f"{arguments.batch} each, on {jax.devices()[0].device_kind}"
    )
    for name, (first, *rest) in times.items():
        print(
            f"{name:<18} {statistics.median(rest):8.3f} s a step (fastest {min(rest):.3f}), "
            f"first step with compilation {first:.1f} s"
        )
    ratios = [a / b for a, b in zip(*(values[1:] for values in times.values()), strict=True)]
    print(f"one after another / together: {statistics.median(ratios):.2f}")


def _batch(arguments: argparse.Namespace, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    shape = (arguments.batch, arguments.size, arguments.size, 1)
    mask = (rng.random(shape) < 0.1).astype(np.uint8)
    image = rng.normal(size=shape).astype(np.float32)
    return jax.device_put({"image": image, "mask": mask, "edge": mask})


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


if __name__ == "__main__":
    main()
