"""The smallest network that has all a step deals with: parameters, batch statistics, heads.

Where the network is not what is tested, a run of it takes a fraction of the time of any of the
package's: nearly all of it is tracing and compiling.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from cosup_jax import models
from cosup_jax.models.output import SegOutput

# As the section `model` of a configuration, after `register`.
TINY = {"name": "tiny", "dtype": "float32"}


class TinyNet(nn.Module):
    """Two convolutions around a batch normalisation."""

    classes: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = 1
    edge_stages: ClassVar[tuple[str, ...]] = ("S1",)
    mask_stages: ClassVar[tuple[str, ...]] = ("S3",)

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(3, (3, 3), name="first")(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name, name="norm")(x)
        logits = nn.Conv(self.classes, (3, 3), name="last")(nn.relu(x))
        return SegOutput(logits, (logits[..., :1],), (logits,))


def register():
    """Makes it one of the networks that configurations may name, in this process."""
    models._NETWORKS["tiny"] = TinyNet
