"""ResUNet_CiF and its joint loss in PyTorch, the plain way: what the JAX package is compared with.

Written from the paper as a PyTorch user would write it: NCHW, heads that resize a stage to full
resolution and then reduce it to one channel, an attention fusion on `width` channels at full
resolution. The settings are those of `cosup_jax.models.CoSupNet`, with attention as the only
fusion. Sub-modules bear the names of the package's parameter tree, which makes `load_flax` a
renaming of leaves.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = Sequence[int]


class Output(NamedTuple):
    """Logits of one forward pass, each (B, 1, H, W)."""

    logits: Tensor
    edge_logits: list[Tensor]
    mask_logits: list[Tensor]


def conv_norm(inputs: int, features: int, kernel: int = 3, stride: int = 1, relu: bool = True):
    """Returns a convolution without bias, batch normalisation and, if asked, ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, features, kernel, stride, padding=kernel // 2, bias=False),
        norm=nn.BatchNorm2d(features, eps=1e-5, momentum=0.1),  # flax's momentum 0.9
    )
    if relu:
        layers["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def resize(x: Tensor, size: Size) -> Tensor:
    """Resizes (B, C, h, w) to (B, C, *size), bilinear."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """The basic block of ResNet-34."""

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.conv1 = conv_norm(inputs, features, stride=stride)
        self.conv2 = conv_norm(features, features, relu=False)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != features:
            self.shortcut = conv_norm(inputs, features, kernel=1, stride=stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, features, H / stride, W / stride)."""
        return F.relu(self.shortcut(x) + self.conv2(self.conv1(x)), inplace=True)


def stage(inputs: int, features: int, blocks: int, stride: int) -> nn.Sequential:
    """Returns the residual blocks of one resolution."""
    return nn.Sequential(
        OrderedDict(
            (
                f"block{i}",
                ResidualBlock(features if i else inputs, features, 1 if i else stride),
            )
            for i in range(blocks)
        )
    )


class Encoder(nn.Module):
    """The down-sampling path S1..S5, S1 at full resolution and S5 at 1/16."""

    def __init__(self, width: int, blocks: Sequence[int]):
        super().__init__()
        self.stage1 = conv_norm(1, width)
        self.stage2 = stage(width, width, blocks[0], 1)
        self.stage3 = stage(width, 2 * width, blocks[1], 2)
        self.stage4 = stage(2 * width, 4 * width, blocks[2], 2)
        self.stage5 = stage(4 * width, 8 * width, blocks[3], 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (B, 1, H, W) to S1..S5."""
        s1 = self.stage1(x)
        s2 = self.stage2(F.max_pool2d(s1, 2))
        s3 = self.stage3(s2)
        s4 = self.stage4(s3)
        return [s1, s2, s3, s4, self.stage5(s4)]


class UpBlock(nn.Module):
    """2×2 transposed convolution, concatenation with the skip, two 3×3 convolutions."""

    def __init__(self, inputs: int, skip: int, features: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, features, kernel_size=2, stride=2)
        self.conv1 = conv_norm(features + skip, features)
        self.conv2 = conv_norm(features, features)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Maps (B, C, h, w) and the skip (B, D, 2h, 2w) to (B, features, 2h, 2w)."""
        x = torch.cat([self.up(x), skip], dim=1)
        return self.conv2(self.conv1(x))


class Decoder(nn.Module):
    """The up-sampling path X4..X1 above the bridge X5."""

    def __init__(self, width: int):
        super().__init__()
        self.level4 = UpBlock(8 * width, 4 * width, 4 * width)
        self.level3 = UpBlock(4 * width, 2 * width, 2 * width)
        self.level2 = UpBlock(2 * width, width, width)
        self.level1 = UpBlock(width, width, width)

    def forward(self, bridge: Tensor, s: list[Tensor]) -> list[Tensor]:
        """Maps the bridge and S1..S5 to X1..X5."""
        x4 = self.level4(bridge, s[3])
        x3 = self.level3(x4, s[2])
        x2 = self.level2(x3, s[1])
        return [self.level1(x2, s[0]), x2, x3, x4, bridge]


class AttentionBlock(nn.Module):
    """Lines 1 to 5 of Algorithm 1 for one level."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.project = nn.Conv2d(inputs, width, kernel_size=1)
        self.gate = nn.Conv2d(width, 1, kernel_size=3, padding=1)

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
        """Maps X_i to X_i^u (B, width, *size), P_i (B, 1, *size) and Y_i = P_i · X_i^u."""
        x_u = resize(self.project(x), size)
        p = torch.sigmoid(self.gate(x_u))
        return x_u, p, p * x_u


class AttentionFusion(nn.Module):
    """AFM: S_p = X_1 + Y_1 + (1 − P_1) · Σ_{i≥2} Y_i (Eq. 3), then a 1×1 convolution."""

    def __init__(self, width: int):
        super().__init__()
        for i, multiple in enumerate((1, 1, 2, 4, 8), 1):
            self.add_module(f"level{i}", AttentionBlock(multiple * width, width))
        self.predict = nn.Conv2d(width, 1, kernel_size=1)

    def forward(self, maps: list[Tensor], size: Size) -> Tensor:
        """Maps X1..X5 to (B, 1, *size) logits."""
        x_1, p_1, y_1 = self.level1(maps[0], size)
        others = [self.get_submodule(f"level{i}")(maps[i - 1], size)[2] for i in (2, 3, 4, 5)]
        return self.predict(x_1 + y_1 + (1 - p_1) * sum(others))


class SupervisionHeads(nn.Module):
    """ESM or ASSM: a 1×1 convolution of each chosen stage at full resolution (Figure 3)."""

    def __init__(self, levels: Sequence[int], width: int):
        super().__init__()
        self.levels = tuple(levels)
        for i in self.levels:
            channels = (1, 1, 2, 4, 8)[i - 1] * width
            self.add_module(f"stage{i}", nn.Conv2d(channels, 1, kernel_size=1))

    def forward(self, s: list[Tensor], size: Size) -> list[Tensor]:
        """Maps S1..S5 to one (B, 1, *size) map per head."""
        return [self.get_submodule(f"stage{i}")(resize(s[i - 1], size)) for i in self.levels]


class CoSupNet(nn.Module):
    """ResUNet_CiF; the arguments are the fields of the package's network of the same name."""

    def __init__(
        self,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        edge_levels: Sequence[int] = (1, 2),
        mask_levels: Sequence[int] = (3, 4, 5),
    ):
        super().__init__()
        self.encoder = Encoder(width, blocks)
        self.bridge = nn.Sequential(
            OrderedDict(
                conv1=conv_norm(8 * width, 8 * width), conv2=conv_norm(8 * width, 8 * width)
            )
        )
        self.decoder = Decoder(width)
        self.esm = SupervisionHeads(edge_levels, width)
        self.assm = SupervisionHeads(mask_levels, width)
        self.afm = AttentionFusion(width)

    def forward(self, x: Tensor) -> Output:
        """Computes the logits of (B, 1, H, W) images with those of all heads."""
        size = x.shape[-2:]
        s = self.encoder(x)
        maps = self.decoder(self.bridge(s[-1]), s)
        return Output(self.afm(maps, size), self.esm(s, size), self.assm(s, size))

    def segment(self, x: Tensor) -> Tensor:
        """Computes the probabilities (B, 1, H, W) alone; the heads are needed in training only."""
        s = self.encoder(x)
        return torch.sigmoid(self.afm(self.decoder(self.bridge(s[-1]), s), x.shape[-2:]))


def dice_loss(logits: Tensor, target: Tensor, eps: float = 1.0) -> Tensor:
    """Computes 1 − Dice over all pixels of the batch, in float32."""
    p = torch.sigmoid(logits.float())
    return 1 - (2 * (p * target).sum() + eps) / (p.sum() + target.sum() + eps)


def joint_loss(
    output: Output, mask: Tensor, edge: Tensor, theta: float = 0.8, beta: float = 0.4
) -> Tensor:
    """Computes L_total = θ L_edge + β L_semantic + L_fusion (Eq. 6); targets are float 0 or 1."""
    l_edge = sum(dice_loss(logits, edge) for logits in output.edge_logits)
    l_semantic = sum(dice_loss(logits, mask) for logits in output.mask_logits)
    return theta * l_edge + beta * l_semantic + dice_loss(output.logits, mask)


# The last part of a leaf's path in flax, and what PyTorch calls it.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def torch_state(variables: Mapping[str, Any]) -> dict[str, Tensor]:
    """Renames and transposes flax collections to what PyTorch's `state_dict` would hold.

    Works for gradients as well as for weights: both transform alike.

    Raises:
      ValueError: two leaves would get the same name.
    """
    state: dict[str, Tensor] = {}
    for collection in variables.values():
        for path, leaf in _leaves(collection):
            name = ".".join((*path[:-1], LEAVES[path[-1]]))
            if name in state:
                raise ValueError(f"two leaves are called {name} in PyTorch")
            state[name] = torch.from_numpy(_transposed(path, np.asarray(leaf)).copy())
    return state


def load_flax(module: nn.Module, variables: Mapping[str, Any]) -> None:
    """Copies `params` and `batch_stats` of the package's network into the module here.

    The running variance means the same until the first step in training mode: PyTorch then keeps
    the unbiased estimate, n / (n − 1) times flax's.

    Raises:
      RuntimeError: a tensor is missing, left over, or of another shape (PyTorch's strict loading).
    """
    module.load_state_dict(torch_state(variables), strict=True)


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()):
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _transposed(path: tuple[str, ...], leaf: np.ndarray) -> np.ndarray:
    if path[-1] != "kernel":
        return leaf
    if path[-2] == "up":
        # A transposed convolution: HWIO to IOHW. flax correlates with the dilated input, PyTorch
        # scatters the kernel, which is the same with the kernel turned by 180°.
        return leaf[::-1, ::-1].transpose(2, 3, 0, 1)
    return leaf.transpose(3, 2, 0, 1)
