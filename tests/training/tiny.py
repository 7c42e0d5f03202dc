"""The smallest network that has all a step deals with: parameters, batch statistics, heads."""

import flax.linen as nn

from cosup_jax.models.output import SegOutput


class TinyNet(nn.Module):
    """Two convolutions around a batch normalisation."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(3, (3, 3), name="first")(x)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name, name="norm")(x)
        logits = nn.Conv(1, (3, 3), name="last")(nn.relu(x))
        return SegOutput(logits, (logits,), (logits,))
