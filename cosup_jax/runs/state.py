"""What training carries from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from flax.training import train_state

from cosup_jax.models.guided import GUIDE
from cosup_jax.models.initialise import initialise


class TrainState(train_state.TrainState):
    """Parameters, optimizer state and step count, and what else changes from step to step.

    Attributes:
      batch_stats: the running batch statistics.
      average: moving average of the collections `params` and `batch_stats`; empty where none is
        kept.
      seed: (2,) uint32, decides what a step draws at random.
    """

    batch_stats: Any = None
    average: Any = struct.field(default_factory=dict)
    seed: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """The collections `model.apply` takes to predict: averaged, where an average is kept."""
        return self.average or self.latest

    @property
    def latest(self) -> dict[str, Any]:
        """The collections as the last step left them."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def step_key(self) -> jax.Array:
        """The random key of this step, which the seed decides."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.seed), self.step)

    def slice_keys(self, first: jax.Array | int, count: int) -> jax.Array:
        """Returns a random key for each of `count` slices of this step's batch.

        A key depends on the seed, the step and the slice's place in the whole batch, so it is the
        same on any number of devices and after an interruption.

        Args:
          first: place of the first of these slices in the whole batch.
          count: how many.
        """
        key = self.step_key
        return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(count))

    def averaged(self, decay: float) -> "TrainState":
        """Returns the state with its average moved on, if it keeps one.

        a ← d a + (1 − d) v with d = min(decay, (1 + t) / (10 + t)) after t steps, so the initial
        weights are soon forgotten.
        """
        if not self.average:
            return self
        d = jnp.minimum(decay, (1 + self.step) / (10 + self.step))
        moved = jax.tree.map(lambda a, v: d * a + (1 - d) * v, self.average, self.latest)
        return self.replace(average=moved)


def make_optimizer(
    learning_rate: float,
    clip: float = 0.0,
    *,
    name: str = "adam",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Returns an optimizer whose learning rate can be changed between epochs.

    Args:
      learning_rate: of the first epoch.
      clip: gradients are clipped to ± this value before; 0 does not clip.
      name: `adam` (paper §4.2) or `sgd`.
      momentum: of `sgd`.
      weight_decay: times a weight is added to its gradient; those of a guide are left alone.

    Raises:
      ValueError: no such optimizer.
    """
    if name not in ("adam", "sgd"):
        raise ValueError(f"optimizer.name is {name!r}, expected adam or sgd")

    def chained(learning_rate: Any) -> optax.GradientTransformation:
        plain = optax.adam(learning_rate) if name == "adam" else optax.sgd(learning_rate, momentum)
        before = [optax.clip(clip)] if clip else []
        if weight_decay:
            before.append(optax.add_decayed_weights(weight_decay, mask=_not_of_a_guide))
        return optax.chain(*before, plain) if before else plain

    return optax.inject_hyperparams(chained)(learning_rate=learning_rate)


def _not_of_a_guide(params: Any) -> Any:
    return {
        name: jax.tree.map(lambda _, trained=name != GUIDE: trained, tree)
        for name, tree in params.items()
    }


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    size: tuple[int, int],
    seed: int,
    average: bool = False,
) -> TrainState:
    """Returns the state at step 0 in host memory, drawn from `seed` alone.

    Args:
      model: a network of `cosup_jax.models`.
      optimizer: an optax optimizer.
      size: (height, width) of the input.
      seed: decides the initial weights, and what the steps draw; a whole number from 0 to 2⁶⁴ − 1.
      average: whether to keep a moving average.
    """
    variables = initialise(model, (1, *size, 1), seed)
    state = TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        average=variables if average else {},
        seed=np.array([seed >> 32, seed % 2**32], np.uint32),
        tx=optimizer,
    )
    return jax.device_get(state.replace(step=jnp.zeros((), jnp.int32)))


def learning_rate(state: TrainState) -> float:
    """Returns the learning rate the next step will use."""
    return float(state.opt_state.hyperparams["learning_rate"])


def with_learning_rate(state: TrainState, value: float) -> TrainState:
    """Returns the state with another learning rate, kept where the old one was (device, dtype)."""
    old = state.opt_state.hyperparams["learning_rate"]
    new = jax.device_put(jnp.asarray(value, old.dtype), getattr(old, "sharding", None))
    hyperparams = {**state.opt_state.hyperparams, "learning_rate": new}
    return state.replace(opt_state=state.opt_state._replace(hyperparams=hyperparams))


def count_parameters(params: Any) -> int:
    """Returns how many numbers there are to learn."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
