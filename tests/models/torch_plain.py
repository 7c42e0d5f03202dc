"""Layers by name in plain PyTorch. A tensor is drawn when it is first asked for.

So a function that computes a network also says which tensors its file has.
"""

import numpy as np

from tests import needs

torch = needs.module("torch")
F = torch.nn.functional


class Plain:
    """Convolutions and norms by name, in evaluation.

    `gain` multiplies the kernels; with much less than 1, products of maps stay within float32.
    """

    def __init__(self, width, blocks, gain=1.0, seed=0):
        self.w, self.blocks, self.gain = width, blocks, gain
        self.random = np.random.default_rng(seed)
        self.state = {}

    def tensor(self, name, shape, low, high):
        if name not in self.state:
            drawn = self.random.uniform(low, high, shape).astype(np.float32)
            self.state[name] = torch.from_numpy(drawn)
        return self.state[name]

    def _bias(self, name, channels, bias):
        return self.tensor(f"{name}.bias", (channels,), -0.3, 0.3) if bias else None

    def conv(self, x, name, out, k=1, stride=1, d=1, bias=False, depthwise=False, pad=None):
        c = 1 if depthwise else x.shape[1]
        bound = self.gain * (3 / (c * k * k)) ** 0.5
        weight = self.tensor(f"{name}.weight", (out, c, k, k), -bound, bound)
        groups = x.shape[1] if depthwise else 1
        pad = d * (k // 2) if pad is None else pad
        return F.conv2d(x, weight, self._bias(name, out, bias), stride, pad, d, groups)

    def up(self, x, name, out, k, pad, more=0):
        bound = (3 / (x.shape[1] * k * k / 4)) ** 0.5
        weight = self.tensor(f"{name}.weight", (x.shape[1], out, k, k), -bound, bound)
        return F.conv_transpose2d(x, weight, self._bias(name, out, True), 2, pad, more)

    def norm(self, x, name):
        c = (x.shape[1],)
        mean = self.tensor(f"{name}.running_mean", c, -0.3, 0.3)
        var = self.tensor(f"{name}.running_var", c, 0.5, 1.5)
        scale = self.tensor(f"{name}.weight", c, 0.7, 1.3)
        return F.batch_norm(x, mean, var, scale, self.tensor(f"{name}.bias", c, -0.3, 0.3))

    def cb(self, x, conv, norm, out, k=1, **options):
        return self.norm(self.conv(x, conv, out, k, **options), norm)

    def cbr(self, x, conv, norm, out, k=1, **options):
        return F.relu(self.cb(x, conv, norm, out, k, **options))

    def bottleneck(self, x, name, planes, stride, d, first):
        y = self.cbr(x, f"{name}.conv1", f"{name}.bn1", planes)
        y = self.cbr(y, f"{name}.conv2", f"{name}.bn2", planes, 3, stride=stride, d=d)
        y = self.cb(y, f"{name}.conv3", f"{name}.bn3", 4 * planes)
        if first:
            names = f"{name}.downsample.0", f"{name}.downsample.1"
            x = self.cb(x, *names, 4 * planes, stride=stride)
        return F.relu(x + y)

    def basic(self, x, name, planes, stride, d, first):
        y = self.cbr(x, f"{name}.conv1", f"{name}.bn1", planes, 3, stride=stride)
        y = self.cb(y, f"{name}.conv2", f"{name}.bn2", planes, 3)
        if stride > 1 or x.shape[1] != planes:
            x = self.cb(x, f"{name}.downsample.0", f"{name}.downsample.1", planes, stride=stride)
        return F.relu(x + y)

    def layers(self, stem, prefix, strides=(1, 2, 2, 2), dilations=None, basic=False):
        """The stem's map and those of the layers; `dilations` is a list a layer, or None."""
        maps, x = [stem], F.max_pool2d(stem, 3, 2, 1)
        block = self.basic if basic else self.bottleneck
        for i, number in enumerate(self.blocks):
            for j in range(number):
                d = dilations[i][j] if dilations else 1
                stride = 1 if j else strides[i]
                x = block(x, f"{prefix}layer{i + 1}.{j}", self.w << i, stride, d, j == 0)
            maps.append(x)
        return maps

    def resnet(self, x, prefix, **options):
        stem = self.cbr(x, f"{prefix}conv1", f"{prefix}bn1", self.w, 7, stride=2)
        return self.layers(stem, prefix, **options)


def aligned(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def half_pixel(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
