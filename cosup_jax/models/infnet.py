"""Inf-Net (Fan et al. 2020, Section III-A): partial decoder, reverse and edge attention."""

from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.backbones import VGG, Maps, ResNet
from cosup_jax.models.imagenet import imagenet_channels
from cosup_jax.models.infnet_parts import (
    EdgeAttention,
    PartialDecoder,
    ReceptiveFieldBlock,
    ReverseAttention,
    head,
)
from cosup_jax.models.layers import Policy, check_image
from cosup_jax.models.output import SegOutput
from cosup_jax.models.res2net import Res2Net
from cosup_jax.models.resizing import resize

DOWNSAMPLING = 32
# name → module and the blocks of the published network
BACKBONES: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "res2net50": (Res2Net, (3, 4, 6, 3)),
    "resnet50": (ResNet, (3, 4, 6, 3)),
    "vgg16": (VGG, (2, 2, 3, 3, 3)),
}


class InfNet(nn.Module):
    """Inf-Net and its ablations (Figure 2, Table IV).

    It takes grey values in 0..1 (an HU window, or 8-bit grey / 255) and itself makes of them what
    its backbones were trained on: three equal channels, each with ImageNet's mean subtracted and
    divided by ImageNet's deviation. Pre-trained weights need that range; a network trained from
    scratch does with others, too.

    The prediction is S_3, without reverse attention S_g. Without the partial decoder S_g is a 1×1
    convolution of f_5 to one channel at 1/32 (1/16 with VGG-16). So, of Table IV, for which the
    paper does not say how they produce a map: "Backbone" predicts this convolution of f_5 alone,
    and in "Backbone+RA" it guides the first reverse attention in the place of the decoder's map.

    Attributes:
      backbone: `res2net50` (v1b, 26 w × 4 s), `resnet50` or `vgg16`.
      width: channels of f_1, 64 in the paper, to which all others are proportional: 64 in the edge
        features, the receptive-field blocks have 32, the reverse attentions at 5, 4, 3 have 256,
        64, 64.
      blocks: blocks of the backbone's layers, or of VGG-16 the convolutions of its five blocks; ()
        for the published ones.
      partial_decoder: whether S_g comes from the receptive-field blocks and the partial decoder.
      reverse_attention: whether S_5, S_4, S_3 refine S_g.
      edge_attention: whether edge features join the reverse attentions and an edge map is learnt.
      reverse_after_concat: False for Eq. 2 as the authors corrected it, True as it is printed.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.

    Raises:
      ValueError: a setting is outside what is described here.
    """

    backbone: str = "res2net50"
    width: int = 64
    blocks: tuple[int, ...] = ()
    partial_decoder: bool = True
    reverse_attention: bool = True
    edge_attention: bool = True
    reverse_after_concat: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = DOWNSAMPLING  # of the image's sides

    def __post_init__(self) -> None:
        """Refuses settings that describe no network."""
        if self.backbone not in BACKBONES:
            raise ValueError(
                f"backbone is {self.backbone!r}, expected one of {', '.join(BACKBONES)}"
            )
        if self.width < 4 or self.width % 2:
            raise ValueError(f"width is {self.width}, expected an even number of at least 4")
        published = BACKBONES[self.backbone][1]
        object.__setattr__(self, "blocks", tuple(self.blocks) or published)
        if len(self.blocks) != len(published) or min(self.blocks) < 1:
            raise ValueError(
                f"blocks is {self.blocks}, expected {len(published)} numbers of at least 1 for "
                f"{self.backbone}, or () for {published}"
            )
        super().__post_init__()

    @property
    def edge_stages(self) -> tuple[str, ...]:
        """Names of the maps behind `SegOutput.edge_logits`: S_e; none without EA."""
        return ("Se",) if self.edge_attention else ()

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Names of the maps behind `SegOutput.mask_logits`: S_g, S_5, S_4; none without RA."""
        return ("Sg", "S5", "S4") if self.reverse_attention else ()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) grey values in 0..1 of a floating type; 32 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Returns:
          The logits of S_3, the mask logits of S_g, S_5, S_4 and the edge logits of S_e, all
          resized to the image.

        Raises:
          ValueError: 32 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        size = (x.shape[1], x.shape[2])
        policy = Policy(self.dtype, self.axis_name)
        module, _ = BACKBONES[self.backbone]
        backbone = module(self.width, self.blocks, policy, name="backbone")
        _, f2, *deep = backbone(imagenet_channels(x).astype(self.dtype), train)

        e_att, edges = None, []
        if self.edge_attention:
            e_att, s_e = EdgeAttention(self.width, policy, name="edge")(f2, train)
            edges = [resize(s_e, size)]
        maps = [self._global_map(deep, policy, train)]
        if self.reverse_attention:
            maps += self._refine(deep, maps[0], e_att, policy, train)
        *masks, prediction = (resize(s, size) for s in maps)
        return SegOutput(prediction, tuple(edges), tuple(masks))

    def _global_map(self, deep: list[jax.Array], policy: Policy, train: bool) -> jax.Array:
        """Returns S_g from f_3, f_4, f_5."""
        if not self.partial_decoder:
            return head(deep[-1], "global")
        x3, x4, x5 = (
            ReceptiveFieldBlock(self.width // 2, policy, name=f"rfb{i}")(f, train)
            for i, f in enumerate(deep, 3)
        )
        return PartialDecoder(policy, name="ppd")(x3, x4, x5, train)

    def _refine(
        self,
        deep: list[jax.Array],
        s_g: jax.Array,
        e_att: jax.Array | None,
        policy: Policy,
        train: bool,
    ) -> Maps:
        """Returns S_5, S_4, S_3."""
        after, w = self.reverse_after_concat, self.width
        sizes = {5: (4 * w, 5, 3, 1), 4: (w, 3, 2, 3), 3: (w, 3, 2, 3)}
        maps = [s_g]
        for level, (features, kernel, convs, predict) in sizes.items():
            reverse = ReverseAttention(
                features, kernel, convs, predict, after, policy, name=f"ra{level}"
            )
            maps.append(reverse(deep[level - 3], maps[-1], e_att, train))
        return tuple(maps[1:])
