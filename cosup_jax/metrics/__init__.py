"""Measures of a segmentation: counts per slice, and the scores made of them."""

from cosup_jax.metrics.counts import Counts, confusion, from_logits
from cosup_jax.metrics.scores import dice, iou, mae, precision, sensitivity, specificity

__all__ = [
    "Counts",
    "confusion",
    "dice",
    "from_logits",
    "iou",
    "mae",
    "precision",
    "sensitivity",
    "specificity",
]
