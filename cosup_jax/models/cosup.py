"""CoSupNet: ResUNet with co-supervision (ESM, ASSM) and attention fusion (AFM).

Every network of the paper's Tables 3 to 5 is a setting of it. ResUNet_C2F is the default.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from cosup_jax.models.fusion import AttentionFusion, ConcatFusion, SumFusion, TopProjection
from cosup_jax.models.layers import DoubleConv, Policy, check_image
from cosup_jax.models.output import SegOutput
from cosup_jax.models.resunet import DOWNSAMPLING, Decoder, Encoder
from cosup_jax.models.supervision import SupervisionHeads

FUSIONS = ("attention", "sum", "concat", "none")
LEVELS = (1, 2, 3, 4, 5)


class CoSupNet(nn.Module):
    """ResUNet_CiF and its ablations (Section 3, Figure 2).

    With `edge_levels` 1..i and `mask_levels` i+1..5 this is ResUNet_CiF; an empty tuple leaves the
    module out, and an absent module has no parameters. A stage may have both kinds of head.

    Attributes:
      width: channels of S1 and X1, and the common channel number of the fusion.
      blocks: residual blocks of S2..S5; (3, 4, 6, 3) is ResNet-34.
      edge_levels: encoder stages S_i supervised by edges (ESM).
      mask_levels: encoder stages S_i supervised by the mask (ASSM).
      decoder_edge_levels: decoder maps X_i supervised by edges (ESM*); X1 has full resolution, X5
        is the bridge.
      decoder_mask_levels: decoder maps X_i supervised by the mask (ASSM*).
      fusion: `attention` (AFM), `sum`, `concat`, or `none` for a 1×1 convolution of X1.
      classes: logits of a pixel: 1 for infection or not, as in the paper; more for that many
        classes, background first, in S_p and in the heads supervised by the mask.
      dtype: type of the computation; parameters, batch statistics and logits stay float32.
      axis_name: device axis over which batch statistics are averaged in training, or None.

    Raises:
      ValueError: a setting is outside what is described here.
    """

    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    edge_levels: tuple[int, ...] = (1, 2)
    mask_levels: tuple[int, ...] = (3, 4, 5)
    decoder_edge_levels: tuple[int, ...] = ()
    decoder_mask_levels: tuple[int, ...] = ()
    fusion: str = "attention"
    classes: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    multiple: ClassVar[int] = DOWNSAMPLING  # of the image's sides

    def __post_init__(self) -> None:
        """Refuses settings that describe no network."""
        if self.width < 1:
            raise ValueError(f"width is {self.width}, expected at least 1")
        if self.classes < 1:
            raise ValueError(f"classes is {self.classes}, expected at least 1")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ValueError(f"blocks is {self.blocks}, expected four numbers of at least 1")
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion is {self.fusion!r}, expected one of {', '.join(FUSIONS)}")
        for field in ("edge_levels", "mask_levels", "decoder_edge_levels", "decoder_mask_levels"):
            levels = tuple(getattr(self, field))
            object.__setattr__(self, field, levels)  # a list would make the network unhashable
            if not set(levels) <= set(LEVELS) or len(set(levels)) != len(levels):
                raise ValueError(f"{field} is {levels}, expected different stages out of {LEVELS}")
        super().__post_init__()

    @property
    def edge_stages(self) -> tuple[str, ...]:
        """Names of the maps behind `SegOutput.edge_logits`, in its order, such as ("S1", "X1")."""
        return _stage_names(self.edge_levels, self.decoder_edge_levels)

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Names of the maps behind `SegOutput.mask_logits`, in its order."""
        return _stage_names(self.mask_levels, self.decoder_mask_levels)

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> SegOutput:
        """Computes the logits of a batch.

        Args:
          x: (B, H, W, 1) normalised images of a floating type; 16 must divide H and W.
          train: whether batch normalisation uses (and updates) the statistics of this batch.

        Raises:
          ValueError: 16 does not divide H or W; the message says what to pad to.
        """
        check_image(x, self.multiple)
        size = (x.shape[1], x.shape[2])
        policy = Policy(self.dtype, self.axis_name)
        s = Encoder(self.width, self.blocks, policy, name="encoder")(x.astype(self.dtype), train)
        bridge = DoubleConv(8 * self.width, policy, name="bridge")(s[-1], train)
        x_maps = Decoder(self.width, policy, name="decoder")(bridge, s, train)

        def heads(
            levels: tuple[int, ...], prefix: str, name: str, classes: int = 1
        ) -> tuple[jax.Array, ...]:
            maps = s if prefix == "stage" else x_maps
            return SupervisionHeads(levels, prefix, classes, name=name)(maps, size)

        return SegOutput(
            logits=self._fuse(x_maps, size),
            edge_logits=heads(self.edge_levels, "stage", "esm")
            + heads(self.decoder_edge_levels, "level", "esm_decoder"),
            mask_logits=heads(self.mask_levels, "stage", "assm", self.classes)
            + heads(self.decoder_mask_levels, "level", "assm_decoder", self.classes),
        )

    def _fuse(self, maps: tuple[jax.Array, ...], size: tuple[int, int]) -> jax.Array:
        if self.fusion == "attention":
            return AttentionFusion(self.width, self.classes, name="afm")(maps, size)
        if self.fusion == "sum":
            return SumFusion(self.width, self.classes, name="sum_fusion")(maps, size)
        if self.fusion == "concat":
            return ConcatFusion(self.width, self.classes, name="concat_fusion")(maps, size)
        return TopProjection(self.classes, name="top")(maps, size)


def _stage_names(encoder: tuple[int, ...], decoder: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"S{i}" for i in encoder) + tuple(f"X{i}" for i in decoder)


def without_heads(model: nn.Module) -> nn.Module:
    """Returns the network that computes S_p alone, from the same variables; others as they are."""
    if not isinstance(model, CoSupNet):
        return model
    heads = ("edge_levels", "mask_levels", "decoder_edge_levels", "decoder_mask_levels")
    absent: dict[str, Any] = dict.fromkeys(heads, ())
    return model.clone(**absent)


def confidence_maps(model: CoSupNet, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """Returns the maps of the attention fusion that the paper shows in Figure 8.

    Args:
      model: a network with attention fusion.
      variables: its `params` and `batch_stats`.
      x: (B, H, W, 1) normalised images.

    Returns:
      `P1`..`P5`, the confidences in 0..1, and `Y1`, what the top map alone contributes after the
      last projection (w · Y_1 = P_1 · v_1, a logit); each (B, H, W, 1) float32.

    Raises:
      ValueError: the network has no attention fusion.
    """
    if getattr(model, "fusion", None) != "attention":
        raise ValueError(
            "confidence maps exist only where fusion is 'attention'; this network is "
            f"{type(model).__name__} with fusion {getattr(model, 'fusion', None)!r}"
        )
    _, state = model.apply(variables, x, train=False, mutable=["intermediates"])
    return dict(state["intermediates"]["afm"])
