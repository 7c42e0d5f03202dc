"""ResNet, Res2Net-50 v1b and VGG-16 in PyTorch, with the names their published files have."""

from tests import needs

torch = needs.module("torch")
nn, F = torch.nn, torch.nn.functional


def conv(c_in, c_out, kernel, stride=1):
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, c_in, planes, stride, first):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3), nn.BatchNorm2d(planes)
        if stride > 1 or c_in != planes:
            self.downsample = nn.Sequential(conv(c_in, planes, 1, stride), nn.BatchNorm2d(planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, c_in, planes, stride, first):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        if first:
            self.downsample = nn.Sequential(
                conv(c_in, 4 * planes, 1, stride), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Bottle2neck(nn.Module):
    expansion = 4

    def __init__(self, c_in, planes, stride, first):
        super().__init__()
        width = planes * 26 // 64
        self.first = first
        self.conv1, self.bn1 = conv(c_in, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.convs = nn.ModuleList(conv(width, width, 3, stride) for _ in range(3))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.conv3, self.bn3 = conv(4 * width, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        if first:
            self.pool = nn.AvgPool2d(3, stride, 1)
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride), conv(c_in, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x):
        *groups, last = F.relu(self.bn1(self.conv1(x))).chunk(4, 1)
        done = []
        for group, conv3x3, norm in zip(groups, self.convs, self.bns, strict=True):
            y = group + done[-1] if done and not self.first else group
            done.append(F.relu(norm(conv3x3(y))))
        done.append(self.pool(last) if self.first else last)
        y = self.bn3(self.conv3(torch.cat(done, 1)))
        return F.relu(y + (self.downsample(x) if self.first else x))


class ResNet(nn.Module):
    """Any of the three by its block; the forward pass gives f1..f5 and leaves `fc` out."""

    def __init__(self, block, width=64, blocks=(3, 4, 6, 3), classes=10):
        super().__init__()
        if block is Bottle2neck:
            half = width // 2
            self.conv1 = nn.Sequential(
                *(conv(3, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU()),
                *(conv(half, half, 3), nn.BatchNorm2d(half), nn.ReLU()),
                conv(half, width, 3),
            )
        else:
            self.conv1 = conv(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        c_in = width
        for i, number in enumerate(blocks):
            planes, layer = width << i, []
            for j in range(number):
                layer.append(block(c_in, planes, 2 if i and not j else 1, j == 0))
                c_in = block.expansion * planes
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(c_in, classes)

    def forward(self, x):
        maps = [F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


def vgg_channels(width):
    return [(width << min(i, 3), number) for i, number in enumerate((2, 2, 3, 3, 3))]


class VGG16(nn.Module):
    """As torchvision names it: max-pooling between the blocks, here replaced by the average."""

    def __init__(self, width=64, pool=nn.AvgPool2d):
        super().__init__()
        layers, c_in = [], 3
        for channels, number in vgg_channels(width):
            for _ in range(number):
                layers += [nn.Conv2d(c_in, channels, 3, padding=1), nn.ReLU()]
                c_in = channels
            layers.append(pool(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(c_in, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)
        )

    def forward(self, x):
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.AvgPool2d):
                maps.append(x)
            x = layer(x)
        return maps


class InfNetVGG(nn.Module):
    """VGG-16 as Inf-Net's release names it, its last two blocks twice."""

    def __init__(self, width=64):
        super().__init__()
        c_in = 3
        for i, (channels, number) in enumerate(vgg_channels(width), 1):
            for copy in ("_1", "_2") if i > 3 else ("",):
                block = nn.Sequential()
                if i > 1:
                    block.add_module(f"pool{i - 1}{copy}", nn.AvgPool2d(2))
                for j in range(1, number + 1):
                    inputs = c_in if j == 1 else channels
                    block.add_module(
                        f"conv{i}_{j}{copy}", nn.Conv2d(inputs, channels, 3, padding=1)
                    )
                    block.add_module(f"relu{i}_{j}{copy}", nn.ReLU())
                self.add_module(f"conv{i}{copy}", block)
            c_in = channels

    def forward(self, x):
        maps = []
        for block in (self.conv1, self.conv2, self.conv3, self.conv4_1, self.conv5_1):
            maps.append(block(maps[-1] if maps else x))
        return maps


def randomise(module, seed):
    """Draws every number anew, moments of norms included, so that a wrong place shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            fresh = torch.randn(value.shape, generator=generator)
            if value.ndim > 1:
                fresh *= (2 / value[0].numel()) ** 0.5
            elif name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
                fresh = 0.75 + 0.5 * torch.sigmoid(fresh)
            else:
                fresh *= 0.2
            value.copy_(fresh)
    return module.eval()
