"""What every network of the package returns."""

import flax.struct
import jax


@flax.struct.dataclass
class SegOutput:
    """Raw logits of one forward pass; no sigmoid has been taken.

    Heads on the encoder come first (S1, S2, …), then those on the decoder (X1, X2, …); a network
    without such heads has empty tuples. A network for several classes has as many logits as classes
    in place of one, the background's first, and their softmax in place of a sigmoid.

    Attributes:
      logits: (B, H, W, 1) float32, the prediction S_p.
      edge_logits: one (B, H, W, 1) float32 map per stage supervised by edges (ESM).
      mask_logits: one (B, H, W, 1) float32 map per stage supervised by the mask (ASSM).
    """

    logits: jax.Array
    edge_logits: tuple[jax.Array, ...] = ()
    mask_logits: tuple[jax.Array, ...] = ()

    @property
    def infection(self) -> jax.Array:
        """Logits (B, H, W, 1) of infection of whatever class: log (1 − p_0) − log p_0."""
        if self.logits.shape[-1] == 1:
            return self.logits
        return jax.nn.logsumexp(self.logits[..., 1:], -1, keepdims=True) - self.logits[..., :1]
