"""The two ways the two papers score a slice, each under its name.

| | `cosup` (Hu et al., Eqs. 7–12) | `semiseg` (Fan et al. 2020, §IV-B) |
| --- | --- | --- |
| size | the network's | the slice's own |
| map | σ(S_p) | σ(S_p) stretched to 0..1, in 256 grey levels |
| Dice, sensitivity, specificity, precision, IoU | at 0.5 | mean over 256 thresholds |
| 0/0 | 1, as in the paper's code | a threshold without overlap is 0 |
| E_φ | mean over 256 thresholds | the same |
| S_α, MAE | of the soft map | the same |

A network of several classes is scored class by class: under `semiseg` the map of a class is 1 where
it is the most probable and 0 elsewhere, as the authors' saved maps are, under `cosup` its
probability.

S_α and E_φ are those of the map in 256 grey levels under both: so both papers' groups measure saved
pictures, and S_α depends on it (see `metrics.s_alpha`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cosup_jax import metrics
from cosup_jax.data import chest
from cosup_jax.metrics import THRESHOLD, Counts

RATIOS = ("dice", "sensitivity", "precision", "specificity", "iou")
SOFT = ("s_alpha", "e_phi_mean", "e_phi_max", "mae")
_GREY_LEVELS = 255
_HALF = 128  # the first of the grey levels above 0.5


class ScoredSlice(NamedTuple):
    """What a protocol finds out about a slice.

    Attributes:
      counts: pixels at 0.5.
      levels: pixels at the 256 thresholds, (256,) each.
      soft: S_α, E_φ and MAE by name.
    """

    counts: Counts
    levels: Counts
    soft: dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """One way to score a slice.

    Attributes:
      name: as it is asked for.
      stretched: whether maps are scored at the slice's own size, stretched to 0..1, and over 256
        thresholds; not at the network's size as they are, and at 0.5.
      description: what a table must say of it.
      empty_masks: its policy for empty masks, in words.
      measures: all it reports, in the order of its tables.
    """

    name: str
    stretched: bool
    description: str
    empty_masks: str
    measures: tuple[str, ...]

    def describe(self, crop: str) -> str:
        """Returns the description of slices that are cut to `crop`, of `chest.CROPS`."""
        if crop == chest.WHOLE:
            return self.description
        outside = "nothing is found" if self.stretched else "nothing is scored"
        told = f"{self.description}; slices are cut to the box of their volume's lungs, outside of "
        told += f"which {outside}"
        if crop in chest.CLOSER:
            told += "; predict looks closer, at each slice's own, which --as-predict scores"
        if crop == chest.MIRRORED:
            told += "; predict looks at its mirror image too, which --as-predict scores"
        return told

    def score(self, prob: np.ndarray, truth: np.ndarray) -> ScoredSlice:
        """Scores a slice.

        Args:
          prob: (H, W) float, the probability of infection.
          truth: (H, W) bool.

        Raises:
          ValueError: the shapes differ, or the map holds NaN.
        """
        if np.isnan(prob).any():
            raise ValueError("the map holds NaN: the network or the file it comes from is broken")
        found, true = self._map(prob), truth[None]
        grey = found if self.stretched else in_grey_levels(found)
        levels = _only(metrics.threshold_counts(grey, true))
        if self.stretched:
            counts = Counts(*(n[_HALF] for n in levels))
        else:
            counts = _only(metrics.confusion(found > THRESHOLD, true))
        curve = metrics.e_phi(levels)
        # In grey levels |p − g| is the share of thresholds 1..255 at which the pixel is wrong.
        wrong = (levels.fp + levels.fn)[1:].mean() / truth.size
        soft = {
            "s_alpha": float(metrics.s_alpha(grey, true)[0]),
            "e_phi_mean": float(curve.mean()),
            "e_phi_max": float(curve.max()),
            "mae": float(wrong if self.stretched else metrics.mae(found, true)[0]),
            "mae_binary": float((counts.fp + counts.fn) / truth.size),
        }
        return ScoredSlice(counts, levels, soft)

    def _map(self, prob: np.ndarray) -> np.ndarray:
        """The map that is scored, (1, H, W) float64."""
        prob = prob[None].astype(np.float64)
        return in_grey_levels(metrics.min_max(prob)) if self.stretched else prob

    def picture(self, prob: np.ndarray) -> np.ndarray:
        """Returns the map that is scored, from (H, W) float to uint8 grey values."""
        return np.rint(self._map(prob)[0] * _GREY_LEVELS).astype(np.uint8)

    def ratios(self, counts: Counts, levels: Counts) -> dict[str, float]:
        """Makes `RATIOS` of the pixels of a slice, or of several taken together.

        Args:
          counts: at 0.5, scalars.
          levels: at the 256 thresholds, (256,) each.
        """
        if self.stretched:
            rows = Counts(*(n[None] for n in levels))
            return {
                name: float(metrics.threshold_mean(getattr(metrics, name), rows)[0])
                for name in RATIOS
            }
        return {name: float(getattr(metrics, name)(counts, empty="paper")) for name in RATIOS}


def in_grey_levels(maps: np.ndarray) -> np.ndarray:
    """Rounds maps of 0..1 to the 256 values k / 255 that an 8-bit picture can hold."""
    grey = maps * _GREY_LEVELS
    np.rint(grey, out=grey)
    grey /= _GREY_LEVELS
    return grey


def _only(counts: Counts) -> Counts:
    return Counts(*(n[0] for n in counts))


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="cosup",
            stretched=False,
            description="σ(S_p) at 0.5 and the network's size, mean over slices",
            empty_masks="paper: 0/0 counts 1, so where only one of prediction and truth is empty "
            "Dice is 0, but sensitivity (nothing there) or precision (nothing found) is 1",
            measures=(*RATIOS, *SOFT, "mae_binary"),
        ),
        Protocol(
            name="semiseg",
            stretched=True,
            description="map stretched to 0..1 at the slice's own size, mean over 256 thresholds "
            "and slices",
            empty_masks="a threshold at which nothing predicted is true counts 0, so a slice "
            "without infection counts 0 whatever is predicted",
            measures=(*RATIOS, *SOFT),
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Returns a protocol.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
