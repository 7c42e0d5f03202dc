"""The networks side by side: parameters, distance from an independent form, operations, speed.

    python benchmarks/networks/table.py --side 256
    python benchmarks/networks/table.py --no-speed                # minutes less, no timing

Each network as its configuration builds it, at full size with one channel in and one logit out.
Prints Markdown:

- parameters, and those of the authors' form (tests/models/published.py), which may have more: the
  biases that a norm takes out again, and parts that reach no output;
- the largest difference of any output from an independent plain PyTorch form that holds the same
  weights, by the largest value of that output, at the smallest size that has every part (the same
  comparison is a test, which asks for 1e-4). Needs PyTorch, and is empty without it;
- operations of one slice in evaluation, in GFLOP, as XLA counts them in the program as written;
- seconds a slice in evaluation, batch 1, all cores: the median of `--repeats` after one that is
  not counted, and the least and the most.
"""

import argparse
import contextlib
import functools
import importlib.util
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # configurations and the tests' plain forms

from cosup_jax import config as configuration
from cosup_jax import models

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "cosup": "c2f.py",
    "infnet": "infnet.py",
    "multiclass_unet": "multiclass.py:net=unet,guide=none",
    "fcn8s": "multiclass.py:net=fcn8s,guide=none",
    **{
        name: f"baseline.py:net={name}"
        for name in (
            "unet",
            "unetpp",
            "attention_unet",
            "deeplabv3plus",
            "pspnet",
            "scrn",
            "f3net",
            "cenet",
            "danet",
            "cpfnet",
            "acfnet",
        )
    },
}


def main() -> None:
    """Prints the table, a row when it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=256, help="pixels of a slice's side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-speed", action="store_true", help="leave the seconds out")
    parser.add_argument("--network", action="append", choices=CONFIGS, help="only this; repeatable")
    arguments = parser.parse_args()
    side, device = arguments.side, jax.devices()[0].device_kind
    print(f"{side}×{side}, {device}, JAX {jax.__version__}\n")
    print(
        "| network | parameters | of its authors' form | difference | GFLOP/slice | s/slice |\n"
        + "| --- " * 6
        + "|"
    )
    for name in arguments.network or CONFIGS:
        model = build(name)
        seconds = "" if arguments.no_speed else speed(model, side, arguments.repeats)
        cells = f"{parameters(model, side, side):,}", published(name), difference(name)
        print(
            f"| {name} | {' | '.join(cells)} | {flops(model, side, side):.1f} | {seconds} |",
            flush=True,
        )


def build(name: str) -> Any:
    """Returns the network as its configuration has it."""
    settings = configuration.load(str(ROOT / "configs" / CONFIGS[name])).model.to_dict()
    settings["dtype"] = jnp.dtype(settings["dtype"])
    return models.build(settings.pop("name"), **settings)


def shapes(model: Any, height: int, width: int) -> tuple[Any, jax.ShapeDtypeStruct]:
    """Returns the shapes of a network's variables and of one slice."""
    image = jax.ShapeDtypeStruct((1, height, width, 1), np.float32)
    start = functools.partial(model.init, train=False)
    return jax.eval_shape(start, jax.random.key(0), image), image


def parameters(model: Any, height: int, width: int) -> int:
    """Counts what is trained."""
    trained = shapes(model, height, width)[0]["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained))


def logits(model: Any) -> Any:
    """Returns the network's prediction as a function of variables and slices."""
    return lambda variables, image: model.apply(variables, image, train=False).logits


def flops(model: Any, height: int, width: int) -> float:
    """Counts the operations of one slice in evaluation, in GFLOP."""
    cost = jax.jit(logits(model)).lower(*shapes(model, height, width)).cost_analysis()
    return cost["flops"] / 1e9


def speed(model: Any, side: int, repeats: int) -> str:
    """Times one slice in evaluation: median, least and most seconds."""
    variables = models.initialise(model, (side, side, 1), 0)
    image = jnp.full((1, side, side, 1), 0.5)
    step, taken = jax.jit(logits(model)), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        step(variables, image).block_until_ready()
        taken.append(time.perf_counter() - began)
    counted = taken[1:]
    return f"{statistics.median(counted):.2f} ({min(counted):.2f} to {max(counted):.2f})"


def published(name: str) -> str:
    """Returns the number of parameters of the authors' form, where one is known."""
    if not _have_torch():
        return ""
    from tests.models.published import CASES

    return f"{CASES[name].published:,}" if name in CASES else ""


def difference(name: str) -> str:
    """Returns the largest relative difference from the independent form, where there is one."""
    if not _have_torch():
        return ""
    from tests.models.published import CASES, outputs
    from tests.models.test_conformance import NETWORKS, SIZES

    if name not in CASES:
        return ""

    def compiled(function, *args):
        return jax.jit(function).lower(*args).compile()

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        size = SIZES.get(name, (32, 48))
        pairs = outputs(name, size, NETWORKS[name], compiled, Path(folder) / "a.pth")
    return f"{max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs):.1e}"


def _have_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


if __name__ == "__main__":
    main()
