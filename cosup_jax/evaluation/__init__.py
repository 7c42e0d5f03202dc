"""Scores as the two papers compute them, of a trained network or of saved maps.

`protocols` says what is computed of a slice, `volumes` of a scan, `tables` what is made of all;
`scoring` runs a network over a split, `classes` does so for each class of infection, `saved` reads
maps from folders, `saved_volumes` masks of volumes, `product` makes those that `predict` would
write, `whole_volumes` scores them, `pictures` shows examples, and `folder` keeps one evaluation in
a folder.
"""

from cosup_jax.evaluation.classes import evaluate_classes
from cosup_jax.evaluation.product import evaluate_product
from cosup_jax.evaluation.protocols import PROTOCOLS
from cosup_jax.evaluation.saved import evaluate_folders
from cosup_jax.evaluation.saved_volumes import evaluate_saved
from cosup_jax.evaluation.scoring import evaluate_run
from cosup_jax.evaluation.tables import table
from cosup_jax.metrics import THRESHOLD

__all__ = [
    "PROTOCOLS",
    "THRESHOLD",
    "evaluate_classes",
    "evaluate_folders",
    "evaluate_product",
    "evaluate_run",
    "evaluate_saved",
    "table",
]
