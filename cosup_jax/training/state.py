"""What training carries from step to step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training import train_state

from cosup_jax.models.initialise import initialise


class TrainState(train_state.TrainState):
    """Parameters, optimizer state and step count, with the running batch statistics."""

    batch_stats: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """The collections `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def make_optimizer(learning_rate: float) -> optax.GradientTransformation:
    """Returns Adam (paper §4.2) whose learning rate can be changed between epochs."""
    return optax.inject_hyperparams(optax.adam)(learning_rate=learning_rate)


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    size: tuple[int, int],
    seed: int,
) -> TrainState:
    """Returns the state at step 0 in host memory, drawn from `seed` alone.

    Args:
      model: a network of `cosup_jax.models`.
      optimizer: an optax optimizer.
      size: (height, width) of the input.
      seed: decides the initial weights.
    """
    variables = initialise(model, (1, *size, 1), seed)
    state = TrainState.create(
        apply_fn=model.apply,
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
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
