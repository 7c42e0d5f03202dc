"""The building blocks all networks share, and the one place that knows how they normalise."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from cosup_jax.models.convolution import convolve

# What every convolution of `ConvNorm` returns, for `light`.
CONVOLVED = "convolved"
# Operations by which batch normalisation sums up a map: over its places, and over devices.
_SUMS = ("reduce_sum", "psum")

# He et al. 2015: normal with variance 2 / fan_in, not truncated. `initialise` draws the same.
kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a network computes and normalises.

    Attributes:
      dtype: type of activations and of the kernels inside a convolution; parameters and batch
        statistics are float32 whatever it is.
      axis_name: name of the device axis over which batch statistics are averaged, or None.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None

    def norm(self, train: bool, name: str) -> nn.BatchNorm:
        """Returns the batch normalisation of the package: momentum 0.9, ε 1e-5, float32 sums."""
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            param_dtype=jnp.float32,
            axis_name=self.axis_name,
            name=name,
        )


def light(module: type[nn.Module], train_argument: int) -> type[nn.Module]:
    """Returns a module whose gradient takes less memory: only convolutions are remembered.

    Between the forward and the backward pass it keeps its input, what its convolutions returned and
    the sums over maps that normalisation takes, a number a channel; the rest, normalisation and
    ReLU, is computed again, which needs no more time than reading it back. Parameters and results
    are the module's own.

    Args:
      module: a class of modules made of `ConvNorm`.
      train_argument: place of `train` among the arguments of its `__call__`, `self` being 0.
    """
    keep = jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.save_only_these_names(CONVOLVED),
        lambda primitive, *_, **__: primitive.name in _SUMS,
    )
    return nn.remat(module, policy=keep, static_argnums=(train_argument,))


def max_pool(x: jax.Array) -> jax.Array:
    """Maps (B, H, W, C) to the maxima of its 2×2 patches, (B, H / 2, W / 2, C).

    The same as `nn.max_pool`, whose gradient is slower (select-and-scatter). Where pixels share the
    maximum they share the gradient too; after a ReLU they are zeros, which have none.
    """
    b, h, w, c = x.shape
    patches = x.reshape(b, h // 2, 2, w // 2, 2, c)
    # Not jnp.max over both axes: its gradient divides by the number of places that equal the
    # maximum, and in a compiled step that number has come out 0, hence NaN.
    top, bottom = (jnp.maximum(patches[:, :, i, :, 0], patches[:, :, i, :, 1]) for i in (0, 1))
    return jnp.maximum(top, bottom)


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation and, if asked, ReLU.

    The padding is k // 2 on every side, times the dilation, so an odd kernel with stride s maps H
    to ceil(H / s) with its centre on every s-th pixel (JAX's "SAME" would shift a strided kernel by
    one).

    Attributes:
      features: output channels.
      kernel: side of the square kernel, or its height and width.
      stride: step in both directions.
      relu: whether a ReLU follows.
      policy: types and normalisation.
      dilation: distance of the kernel's taps in both directions.
      depthwise: whether each output channel sees only its own input channel.
    """

    features: int
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    relu: bool = True
    policy: Policy = Policy()
    dilation: int = 1
    depthwise: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, features)."""
        kernel = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        x = nn.Conv(
            self.features,
            kernel,
            strides=self.stride,
            padding=[(self.dilation * (k // 2),) * 2 for k in kernel],
            kernel_dilation=self.dilation,
            feature_group_count=x.shape[-1] if self.depthwise else 1,
            use_bias=False,
            dtype=self.policy.dtype,
            kernel_init=kernel_init,
            conv_general_dilated=convolve,
            name="conv",
        )(x)
        x = self.policy.norm(train, "norm")(checkpoint_name(x, CONVOLVED))
        return nn.relu(x) if self.relu else x


class DoubleConv(nn.Module):
    """Two 3×3 ConvNorm with ReLU: X5 on S5 in ResUNet, and what U-Net does at each resolution.

    Attributes:
      features: output channels.
      policy: types and normalisation.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H, W, features)."""
        x = ConvNorm(self.features, policy=self.policy, name="conv1")(x, train)
        return ConvNorm(self.features, policy=self.policy, name="conv2")(x, train)


class ResidualBlock(nn.Module):
    """The basic block of ResNet-34: two 3×3 convolutions and a shortcut, ReLU after the sum.

    Attributes:
      features: output channels.
      stride: step of the first convolution and of the shortcut.
      policy: types and normalisation.
      dilation: of both convolutions.
    """

    features: int
    stride: int = 1
    policy: Policy = Policy()
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H / stride, W / stride, features)."""
        shortcut = x
        if self.stride != 1 or x.shape[-1] != self.features:
            shortcut = ConvNorm(
                self.features, 1, self.stride, relu=False, policy=self.policy, name="shortcut"
            )(x, train)
        same: dict[str, Any] = {"policy": self.policy, "dilation": self.dilation}
        y = ConvNorm(self.features, 3, self.stride, **same, name="conv1")(x, train)
        y = ConvNorm(self.features, relu=False, **same, name="conv2")(y, train)
        return nn.relu(shortcut + y)


class Dropout(nn.Module):
    """Sets values to 0 at random in training, and divides the others by their share.

    What is drawn for a slice depends on the collection `dropout` of random keys, the module's path
    and the slice's place in the batch over all devices, so not on how many there are.

    Attributes:
      rate: probability of being set to 0.
      channels: whether whole channels of a slice are, not single values.
      policy: its device axis.
    """

    rate: float
    channels: bool = False
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape; without `train` it is `x` itself."""
        if not train or self.rate == 0:
            return x
        b, *shape = x.shape
        axis = self.policy.axis_name
        first = 0 if axis is None else b * jax.lax.axis_index(axis)
        key = self.make_rng("dropout")
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(b))
        drawn = (1, 1, shape[-1]) if self.channels else tuple(shape)
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - self.rate, drawn))(keys)
        return jnp.where(kept, x / (1 - self.rate), jnp.zeros((), x.dtype))


class DoublingConv(nn.Module):
    """The 2×2 transposed convolution with stride 2, as one matrix product.

    No two of its 2×2 output patches overlap, so each pixel's C channels times a (C, 4 · features)
    matrix are its patch, and what is left is to put the patches in their places. The parameters and
    results are those of `nn.ConvTranspose(features, (2, 2), (2, 2))`, whose gradient by the kernel
    is a convolution of the input with zeros in between: a fifth of the training step on a CPU.

    Attributes:
      features: output channels.
      policy: types.
    """

    features: int
    policy: Policy = Policy()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, h, w, C) to (B, 2h, 2w, features)."""
        b, h, w, c = x.shape
        kernel = self.param("kernel", kernel_init, (2, 2, c, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = (v.astype(self.policy.dtype) for v in (x, kernel, bias))
        # flax correlates, so the last tap of the kernel makes the first pixel of a patch.
        taps = kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(c, -1)
        patches = (x.reshape(-1, c) @ taps).reshape(b, h, w, 2, 2, self.features)
        y = patches.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, self.features)
        return y + bias[None, None, None]


class ConvWeights(nn.Module):
    """Kernel and bias of a convolution that the caller evaluates in a cheaper order.

    The parameters are those of `nn.Conv(features, (kernel, kernel))`, names included.

    Attributes:
      inputs: input channels.
      features: output channels.
      kernel: side of the square kernel.
    """

    inputs: int
    features: int
    kernel: int = 1

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """Returns the (k, k, inputs, features) kernel and the (features,) bias, both float32."""
        shape = (self.kernel, self.kernel, self.inputs, self.features)
        return (
            self.param("kernel", kernel_init, shape, jnp.float32),
            self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32),
        )


def pointwise(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Applies a 1×1 convolution and returns float32, whatever the type of `x`.

    Args:
      x: (B, H, W, C) activations.
      kernel: (C, N) float32.
      bias: (N,) float32.

    Returns:
      (B, H, W, N) float32; products are taken in the type of `x` and summed in float32.
    """
    y = jax.lax.dot_general(
        x,
        kernel.astype(x.dtype),
        (((x.ndim - 1,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return y + bias[None, None, None]


def check_image(x: jax.Array | jax.ShapeDtypeStruct, multiple: int, smallest: int = 0) -> None:
    """Refuses a batch that a network with `multiple`-fold down-sampling cannot take.

    Raises:
      ValueError: `x` is not (B, H, W, C), or H or W is not a multiple of `multiple`, or is below
        `smallest`.
    """
    if x.ndim != 4:
        raise ValueError(f"a batch of images is (B, H, W, C); this array has the shape {x.shape}")
    height, width = x.shape[1:3]
    wanted = tuple(-(-n // multiple) * multiple for n in (height, width))
    wanted = tuple(max(n, multiple, smallest) for n in wanted)
    if wanted != (height, width):
        least = f" from {smallest} on" if smallest else ""
        raise ValueError(
            f"the image is {height}×{width}, but height and width must be multiples of {multiple}"
            f"{least}: pad (or resize) it to {wanted[0]}×{wanted[1]}"
            + (f"; {x.shape} seems to have its channels first, not last" if height <= 4 else "")
        )
