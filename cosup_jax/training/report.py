"""What a run says of itself while it trains: scores between epochs, pictures."""

from pathlib import Path
from typing import NamedTuple

import grain
import jax
import numpy as np

from cosup_jax import devices, figures, hosts, signals
from cosup_jax.data import pipeline, sampling
from cosup_jax.metrics import THRESHOLD, Counts, dice
from cosup_jax.runs import logs
from cosup_jax.runs.state import TrainState
from cosup_jax.training.setup import Setup
from cosup_jax.training.step import predict_step

NOTHING_INFECTED = "no validation slice is infected: the best epoch is that of the lowest loss"


class Validation(NamedTuple):
    """Means over the slices of a split.

    Attributes:
      loss: the joint loss.
      dice: Dice at 0.5, empty on empty counting 1, as the protocol `cosup` has it; where
        `sampling.groups` are given, the mean over groups of the means over their slices.
      infected: slices with infection.
    """

    loss: float
    dice: float
    infected: int

    @property
    def merit(self) -> float:
        """What the best epoch has most of: Dice.

        Where no slice is infected a network that marks nothing has a Dice of 1; there it is the
        loss, negative.
        """
        return self.dice if self.infected else -self.loss


def score(setup: Setup, state: TrainState, dataset: grain.MapDataset) -> Validation:
    """Scores a split with the mapped evaluation step; filling (`_mask` 0) counts for nothing."""
    found, losses, weights = [], [], []
    case_ids: list[str] = []
    infected: list[bool] = []
    for batch in pipeline.eval_batches(dataset, setup.config.batch_size):
        signals.check()
        mine = devices.own_block(pipeline.for_device(batch))
        on_devices = devices.shard(mine, setup.devices)
        results = setup.eval_step(state, on_devices)
        present = int(batch["_mask"].sum())
        counts = Counts(*(np.asarray(results[name])[:present] for name in Counts._fields))
        found.append(dice(counts, empty="one"))
        losses.append(float(results["loss"]))
        weights.append(present)
        case_ids += list(batch["case_id"][:present])
        infected += [bool(mask.any()) for mask in batch["mask"][:present]]
    groups = sampling.parse_groups(setup.config.sampling.groups)
    return Validation(
        loss=float(np.average(losses, weights=weights)),
        dice=sampling.mean_of_groups(np.concatenate(found), case_ids, infected, groups),
        infected=sum(infected),
    )


def predict(state: TrainState, image: np.ndarray) -> np.ndarray:
    """Returns the probabilities (B, H, W) of images (B, H, W, 1)."""
    return np.asarray(jax.jit(predict_step)(state, image))[..., 0]


def validation_picture(setup: Setup, state: TrainState, dataset: grain.MapDataset) -> np.ndarray:
    """Returns overlays of three slices spread over a split, side by side: (H, 3 W, 3) uint8."""
    examples = [dataset[int(i)] for i in np.linspace(0, len(dataset) - 1, 5)[1:-1]]
    probability = predict(state, np.stack([e["image"] for e in examples]))
    return np.concatenate(
        [
            figures.overlay(e["image"][..., 0], p > THRESHOLD, e["mask"][..., 0] > 0)
            for e, p in zip(examples, probability, strict=True)
        ],
        axis=1,
    )


def learning_curve(workdir: Path) -> None:
    """Saves learning_curve.png of the epochs so far."""
    rows = logs.read_metrics(workdir) if hosts.is_first() else []
    if rows:
        figures.save(figures.learning_curves({workdir.name: rows}), workdir / "learning_curve")
