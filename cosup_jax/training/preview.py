"""What a run would be: `train --dry-run`."""

import functools
from collections.abc import Sequence
from pathlib import Path

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import devices
from cosup_jax.data import pipeline, sampling
from cosup_jax.runs.state import TrainState, count_parameters
from cosup_jax.training import start
from cosup_jax.training.setup import Setup, describe, make_setup, make_state


def dry_run(config: ConfigDict, also: Sequence[int] = (), seeds: int = 1) -> str:
    """Returns configuration, shapes, parameters and memory of a run, without training.

    The dataset is built, weights to start from are read, the step is compiled for its memory.

    Args:
      config: see configs/base.py.
      also: more batch sizes, of which the memory is told.
      seeds: how many are trained together; the state of each stays on the device while another
        takes its step.

    Raises:
      ValueError: as of a run that begins.
    """
    setup = make_setup(config, Path("(none: dry run)"))
    state = make_state(setup)
    state = start.with_weights(config, state) if config.init else state
    batch = _batch(config, config.batch_size)
    output = jax.eval_shape(
        functools.partial(state.apply_fn, train=False), state.variables, batch["image"]
    )
    slices = grain.MapDataset.range(setup.builder.info.splits[config.data.train].num_examples)
    steps = pipeline.steps_per_epoch(slices, config.batch_size, config.sampling.slices)
    if groups := sampling.parse_groups(config.sampling.groups):
        sampling.mixed(setup.open(config.data.train), groups, config.seed)
        sampling.check(setup.open(config.data.validation), config.data.validation, groups)
    per_module = [f"  {name}: {count_parameters(tree):,}" for name, tree in state.params.items()]
    shapes = [f"  {name}: {value.shape} {value.dtype}" for name, value in batch.items()]
    heads = zip(
        (*setup.model.edge_stages, *setup.model.mask_stages),
        (*output.edge_logits, *output.mask_logits),
        strict=True,
    )
    shapes += [f"  logits: {output.logits.shape} {output.logits.dtype}"]
    shapes += [f"  supervised {name}: {value.shape}" for name, value in heads]
    return "\n".join(
        [
            configuration.to_json(config),
            describe(setup, state),
            f"{steps} steps an epoch, at most {config.epochs} epochs",
            "parameters:",
            *per_module,
            "shapes:",
            *shapes,
            *(
                _memory(setup, state, size, seeds)
                for size in dict.fromkeys((config.batch_size, *also))
            ),
        ]
    )


def _batch(config: ConfigDict, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    shape = (batch_size, *config.data.size, 1)
    types = {"image": np.float32, "mask": np.uint8, "edge": np.uint8}
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in types.items()}


def _memory(setup: Setup, state: TrainState, batch_size: int, seeds: int) -> str:
    """Says what a step needs, at the largest size that is trained at."""
    height, width = largest = max(setup.train_steps)
    batch = _batch(setup.config, batch_size)
    found = devices.memory(setup.train_steps[largest], state, batch, setup.devices)
    waiting = (seeds - 1) * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    together = f", beside {seeds - 1} other seeds {(found + waiting) / 2**30:.2f} GiB"
    return (
        f"memory of a training step on each device, at {height}×{width} and batch {batch_size}: "
        f"{found / 2**30:.2f} GiB{together * (seeds > 1)}"
    )
