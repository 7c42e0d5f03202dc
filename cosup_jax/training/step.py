"""One training step and one evaluation step, as pure functions of state and batch.

A batch holds `image` (B, H, W, 1) float32, `mask` and `edge` (B, H, W, 1) uint8, and for evaluation
`_mask` (B,), 0 where a slice only fills the batch up. With `axis_name`, B is one device's share,
and every result is that of the whole batch over all devices.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import optax

from cosup_jax import devices
from cosup_jax.metrics import counts, scores
from cosup_jax.models.output import SegOutput
from cosup_jax.runs.state import TrainState

Loss = Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
Batch = Mapping[str, jax.Array]
# From a key for each slice, images and masks to what replaces them in the batch.
Prepare = Callable[[jax.Array, jax.Array, jax.Array], Batch]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    loss: Loss,
    prepare: Prepare | None = None,
    decay: float = 0.0,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimizer step.

    Args:
      state: the state.
      batch: see above.
      loss: the loss, as `losses.build` returns it.
      prepare: what is done to a batch first, such as `augment.augment`; None leaves it.
      decay: of the moving average, where the state keeps one.
      axis_name: the device axis, or None.

    Returns:
      The next state, and scalars: the loss with its parts, `dice` of the thresholded prediction as
      the mean over slices, and the gradient's global norm.
    """
    _check(batch)
    if prepare is not None:
        n = len(batch["image"])
        first = 0 if axis_name is None else n * jax.lax.axis_index(axis_name)
        keys = state.slice_keys(first, n)
        batch = {**batch, **prepare(keys, batch["image"], batch["mask"])}

    def objective(params: Any):
        variables = {"params": params, "batch_stats": state.batch_stats}
        output, updates = state.apply_fn(
            variables,
            batch["image"],
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": state.step_key},
        )
        total, parts = loss(output, batch["mask"], batch["edge"], axis_name=axis_name)
        return total, (parts, output.infection, updates.get("batch_stats", {}))

    gradients, (parts, logits, batch_stats) = jax.grad(objective, has_aux=True)(state.params)
    dice = scores.dice(counts.from_logits(logits, batch["mask"])).mean()
    if axis_name is not None:
        # The gradient of a sum over devices is again one, so each device holds its share of the
        # whole batch's gradient times the number of devices: the mean is right, a sum is not.
        gradients = jax.lax.pmean(gradients, axis_name)
        dice = jax.lax.pmean(dice, axis_name)
    metrics = {
        "loss": parts.pop("total"),
        **parts,
        "dice": dice,
        "grad_norm": optax.tree.norm(gradients),
    }
    state = state.apply_gradients(grads=gradients, batch_stats=batch_stats)
    return state.averaged(decay), metrics


def eval_step(
    state: TrainState, batch: Batch, *, loss: Loss, axis_name: str | None = None
) -> dict[str, jax.Array]:
    """Scores a batch with the running statistics, or with the averages where these are kept.

    Returns:
      Per slice (B,): the counts `tp`, `fp`, `fn`, `tn` at probability 0.5 and the mean absolute
      error `mae` of the probabilities; and `loss`, the joint loss of the batch without filling.
    """
    _check(batch)
    output: SegOutput = state.apply_fn(state.variables, batch["image"], train=False)
    total, _ = loss(
        output, batch["mask"], batch["edge"], weights=batch["_mask"], axis_name=axis_name
    )
    found = counts.from_logits(output.infection, batch["mask"])
    error = scores.mae(jax.nn.sigmoid(output.infection), batch["mask"] > 0)
    return {**found._asdict(), "mae": error, "loss": total}


def _check(batch: Batch) -> None:
    """Refuses, while the step is traced, arrays whose shapes do not belong together."""
    chex.assert_rank(batch["image"], 4)
    chex.assert_equal_shape([batch["image"], batch["mask"], batch["edge"]])


def predict_step(state: TrainState, image: jax.Array) -> jax.Array:
    """Returns the probabilities (B, H, W, 1) float32 of σ(S_p)."""
    return jax.nn.sigmoid(state.apply_fn(state.variables, image, train=False).infection)


def parallel_train_step(
    loss: Loss, on: Sequence[jax.Device], *, prepare: Prepare | None = None, decay: float = 0.0
) -> Callable:
    """Returns `train_step` over several devices, which uses up the state it is given."""
    step = functools.partial(train_step, loss=loss, prepare=prepare, decay=decay)
    return devices.map_train_step(step, on)


def parallel_eval_step(loss: Loss, on: Sequence[jax.Device]) -> Callable:
    """Returns `eval_step` over several devices, its per-slice results in the batch's order."""
    return devices.map_eval_step(functools.partial(eval_step, loss=loss), on)
