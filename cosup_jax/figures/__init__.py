"""Pictures for people: slices beside their predictions, and plots. Arrays in, Matplotlib out."""

from cosup_jax.figures.files import save
from cosup_jax.figures.plots import bland_altman, calibration, dates, dice_by_size, learning_curves
from cosup_jax.figures.slices import (
    AGREED,
    FALSE,
    MISSED,
    classes,
    fusion,
    grey,
    networks,
    overlay,
    overlays,
    stages,
)

__all__ = [
    "AGREED",
    "FALSE",
    "MISSED",
    "bland_altman",
    "calibration",
    "classes",
    "dates",
    "dice_by_size",
    "fusion",
    "grey",
    "learning_curves",
    "networks",
    "overlay",
    "overlays",
    "save",
    "stages",
]
