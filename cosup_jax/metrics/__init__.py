"""Measures of a segmentation: counts and maps of slices, volumes, and the scores made of them."""

from cosup_jax.metrics.alignment import e_phi, e_phi_max, e_phi_mean
from cosup_jax.metrics.counts import THRESHOLD, Counts, confusion, from_logits
from cosup_jax.metrics.lesions import LesionScores, lesion_scores
from cosup_jax.metrics.rounding import places
from cosup_jax.metrics.scores import dice, iou, mae, precision, sensitivity, specificity
from cosup_jax.metrics.structure import s_alpha
from cosup_jax.metrics.thresholds import min_max, threshold_counts, threshold_mean
from cosup_jax.metrics.volumes import (
    Surfaces,
    VolumeScores,
    hd95,
    lesion_volume,
    measure_surfaces,
    surface_dice,
    volume_scores,
    voxel_ml,
)

__all__ = [
    "THRESHOLD",
    "Counts",
    "LesionScores",
    "Surfaces",
    "VolumeScores",
    "confusion",
    "dice",
    "e_phi",
    "e_phi_max",
    "e_phi_mean",
    "from_logits",
    "hd95",
    "iou",
    "lesion_scores",
    "lesion_volume",
    "mae",
    "measure_surfaces",
    "min_max",
    "places",
    "precision",
    "s_alpha",
    "sensitivity",
    "specificity",
    "surface_dice",
    "threshold_counts",
    "threshold_mean",
    "volume_scores",
    "voxel_ml",
]
