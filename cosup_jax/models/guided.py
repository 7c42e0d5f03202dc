"""A network that labels classes with the help of another one, which finds all infection first."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.output import SegOutput
from cosup_jax.models.resizing import resize

GUIDE = "guide"


class GuidedNet(nn.Module):
    """The infection-guided labelling of Inf-Net's paper (Section III-C, Figure 5).

    The guide's probabilities of infection join the slice as a second channel. The guide itself is
    not trained here: it predicts with its running statistics, and no gradient reaches it. So the
    labeller is trained on the maps it will get in use, where the authors' release trains on the
    experts' masks.

    Attributes:
      guide: the network that finds infection.
      labeller: the network that takes two channels.
      guide_size: (height, width) at which the guide sees the slice; () for the slice's own.
      dtype: type of the computation; both networks have it, too.
      axis_name: device axis over which batch statistics are averaged in training, or None.
    """

    guide: nn.Module
    labeller: nn.Module
    guide_size: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def classes(self) -> int:
        """Logits of a pixel."""
        return self.labeller.classes

    @property
    def multiple(self) -> int:
        """Of the slice's sides, where the guide sees it at its own size `guide_size`."""
        least = 1 if self.guide_size else self.guide.multiple
        return math.lcm(least, self.labeller.multiple)

    @property
    def initial(self) -> str:
        """How it is drawn, see `initialise`."""
        return getattr(self.labeller, "initial", "")

    @property
    def edge_stages(self) -> tuple[str, ...]:
        """Those of the labeller."""
        return self.labeller.edge_stages

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Those of the labeller."""
        return self.labeller.mask_stages

    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Returns what the labeller makes of (B, H, W, 1) slices and the guide's maps of them."""
        size = (x.shape[1], x.shape[2])
        height, width = self.guide_size or size
        # As slices are resized for training: averaged where they shrink.
        seen = jax.image.resize(x, (x.shape[0], height, width, x.shape[3]), "bilinear")
        found = nn.sigmoid(resize(self.guide(seen, train=False).infection, size))
        both = jnp.concatenate([x, jax.lax.stop_gradient(found).astype(x.dtype)], axis=-1)
        return self.labeller(both, train=train)
