"""How the decoder maps X1..X5 become the prediction S_p (Section 3.4, Table 5).

`width` is the common channel number of Algorithm 1 (64 in the paper). The last 1×1 convolution w, b
from `width` channels to one is not in the paper, whose Eq. 3 ends with 64 channels; without it
there would be no single-channel S_p.

None of the modules makes the 64-channel maps X_i^u at full resolution that the paper describes. All
that is done to X_i^u is linear (the gates act on the results), and a 1×1 convolution commutes with
the resize (see `supervision`), so X_i is projected at its own low resolution to the few channels
that are used. Parameters and results are those of the plain form.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax.models.layers import ConvWeights, pointwise
from cosup_jax.models.resizing import half_pixel, resize, resize_planes, rows_and_columns

Maps = tuple[jax.Array, ...]


class AttentionBlock(nn.Module):
    """Attention block Φ_A on one level (Figure 5, Eq. 4; lines 1 to 4 of Algorithm 1).

    Line 1 is X_i A_i + a_i with `width` channels, line 2 its resize X_i^u. Two linear maps read
    X_i^u: the gate K_i, a 3×3 convolution to one channel (line 3), and the last projection w.
    Composed with A_i they need ten channels: w, and one for each of the nine taps of K_i. These are
    kept as planes, channels first, since whole planes are enlarged, shifted and added; those of the
    taps all at once, so that none of them is ever as large as the image.

    Attributes:
      width: channels of X_i^u.
    """

    width: int

    @nn.compact
    def __call__(
        self, x: jax.Array, w: jax.Array, size: tuple[int, int]
    ) -> tuple[jax.Array, jax.Array]:
        """Computes the confidence P_i and the projected value v_i = X_i^u · w.

        Args:
          x: X_i, (B, h, w, C).
          w: (width, classes), the projection common to all levels.
          size: height and width of the image.

        Returns:
          P_i, (B, `*size`), and v_i, (classes, B, `*size`), both float32. Y_i = P_i · X_i^u of
          Eq. 4 appears after the projection: Y_i · w = P_i · v_i.
        """
        a_kernel, a_bias = ConvWeights(x.shape[-1], self.width, name="project")()
        k_kernel, k_bias = ConvWeights(self.width, 1, kernel=3, name="gate")()
        taps = k_kernel.reshape(9, self.width).T
        readers = jnp.concatenate([w, taps], axis=1)
        both = pointwise(x, a_kernel[0, 0] @ readers, a_bias @ readers)
        both = jnp.moveaxis(both, -1, 0)
        gate = sum_shifted(both[-9:], size)
        return nn.sigmoid(gate + k_bias[None, None]), resize_planes(both[:-9], size)


def sum_shifted(taps: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Finishes a 3×3 convolution of resized maps whose channels are already summed per tap.

    Args:
      taps: (9, B, h, w), for each place the product with the nine taps in row order.
      size: H and W of the resized maps.

    Returns:
      (B, H, W), at (y, x) the sum over taps (i, j) of the resized `taps[3 i + j]` at
      (y + i - 1, x + j - 1), zero outside the image like a zero-padded convolution.
    """
    _, b, h, w = taps.shape
    if (h, w) != size:
        rows, columns = (_shifted(half_pixel(n, m)) for n, m in zip((h, w), size, strict=True))
        side_by_side = taps.reshape(3, 3, b, h, w).transpose(0, 3, 2, 1, 4)
        return rows_and_columns(side_by_side.reshape(3 * h, b, 3 * w), rows, columns)
    padded = jnp.pad(taps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = jnp.zeros(taps.shape[1:], taps.dtype)
    for i in range(3):
        for j in range(3):
            total += padded[3 * i + j, :, i : i + h, j : j + w]
    return total


def _shifted(weights: np.ndarray) -> np.ndarray:
    """The (m, 3 n) weights in row y of those of (m, n) in rows y - 1, y and y + 1, or 0."""
    padded = np.pad(weights, ((1, 1), (0, 0)))
    return np.concatenate([padded[i : i + len(weights)] for i in range(3)], axis=1)


class AttentionFusion(nn.Module):
    """AFM: S_p = X_1 + Y_1 + (1 − P_1) · Σ_{i≥2} Y_i (Eq. 3, Algorithm 1), then the projection w.

    Eq. 3 lets P_1 have C channels, Algorithm 1 has one; the algorithm is followed.

    The one-channel confidences P_1..P_5 and the projected Y_1 are sown into `intermediates` under
    `P1`..`P5` and `Y1`; `cosup_jax.models.confidence_maps` reads them.

    Attributes:
      width: common channel number of the levels.
      classes: logits of a pixel.
    """

    width: int
    classes: int = 1

    @nn.compact
    def __call__(self, maps: Maps, size: tuple[int, int]) -> jax.Array:
        """Maps X1..X5, (B, h_i, w_i, C_i), to (B, `*size`, classes) float32 logits."""
        kernel, b = ConvWeights(self.width, self.classes, name="predict")()
        w = kernel[0, 0]
        p, v = zip(
            *(
                AttentionBlock(self.width, name=f"level{i}")(x, w, size)
                for i, x in enumerate(maps, 1)
            ),
            strict=True,
        )
        y = [p_i[None] * v_i for p_i, v_i in zip(p, v, strict=True)]
        for i, p_i in enumerate(p, 1):
            self._keep(f"P{i}", p_i[..., None])
        self._keep("Y1", jnp.moveaxis(y[0], 0, -1))
        s_p = v[0] + y[0] + (1 - p[0])[None] * sum(y[1:])
        return jnp.moveaxis(s_p, 0, -1) + b[None, None, None]

    def _keep(self, name: str, value: jax.Array) -> None:
        # The last value, not flax's default tuple of all values.
        self.sow("intermediates", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: None)


class SumFusion(nn.Module):
    """Addition (Table 5): all X_i^u are summed and projected, S_p = (Σ_i X_i^u) · w + b.

    Attributes:
      width: common channel number of the levels.
      classes: logits of a pixel.
    """

    width: int
    classes: int = 1

    @nn.compact
    def __call__(self, maps: Maps, size: tuple[int, int]) -> jax.Array:
        """Maps X1..X5, (B, h_i, w_i, C_i), to (B, `*size`, classes) float32 logits."""
        kernel, b = ConvWeights(self.width, self.classes, name="predict")()
        return _projected(maps, [kernel[0, 0]] * len(maps), size) + b[None, None, None]


class ConcatFusion(nn.Module):
    """Concatenation (Table 5): S_p = [X_1^u, …, X_5^u] · w + b, where w has 5 · width rows.

    Attributes:
      width: common channel number of the levels.
      classes: logits of a pixel.
    """

    width: int
    classes: int = 1

    @nn.compact
    def __call__(self, maps: Maps, size: tuple[int, int]) -> jax.Array:
        """Maps X1..X5, (B, h_i, w_i, C_i), to (B, `*size`, classes) float32 logits."""
        kernel, b = ConvWeights(self.width * len(maps), self.classes, name="predict")()
        return _projected(maps, jnp.split(kernel[0, 0], len(maps)), size) + b[None, None, None]


class TopProjection(nn.Module):
    """No fusion, the baseline: a 1×1 convolution of X_1.

    Attributes:
      classes: logits of a pixel.
    """

    classes: int = 1

    @nn.compact
    def __call__(self, maps: Maps, size: tuple[int, int]) -> jax.Array:
        """Maps X1, the first of the maps, to (B, `*size`, classes) float32 logits."""
        kernel, bias = ConvWeights(maps[0].shape[-1], self.classes, name="predict")()
        return resize(pointwise(maps[0], kernel[0, 0], bias), size)


def _projected(maps: Maps, w: list[jax.Array], size: tuple[int, int]) -> jax.Array:
    """Returns Σ_i X_i^u · w_i with X_i^u = resize(X_i A_i + a_i), never wider than the logits."""
    total = jnp.zeros((1, 1, 1, 1), jnp.float32)
    for i, (x, w_i) in enumerate(zip(maps, w, strict=True), 1):
        kernel, bias = ConvWeights(x.shape[-1], w_i.shape[0], name=f"level{i}")()
        projected = jnp.moveaxis(pointwise(x, kernel[0, 0] @ w_i, bias @ w_i), -1, 0)
        total += resize_planes(projected, size)
    return jnp.moveaxis(total, 0, -1)
