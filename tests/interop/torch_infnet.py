"""Inf-Net in PyTorch, with the names its published files have (which count from 2, not 3)."""

from tests.interop.torch_backbones import Bottle2neck, Bottleneck, InfNetVGG, ResNet, torch

nn, F = torch.nn, torch.nn.functional


class BasicConv2d(nn.Module):
    """Convolution and norm; the release has a ReLU here that it never applies."""

    def __init__(self, c_in, c_out, kernel, dilation=1):
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(dilation * (k // 2) for k in kernel)
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=padding, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return self.bn(self.conv(x))


class ReceptiveField(nn.Module):
    def __init__(self, c_in, c):
        super().__init__()
        self.branch0 = nn.Sequential(BasicConv2d(c_in, c, 1))
        for i, k in enumerate((3, 5, 7), 1):
            branch = nn.Sequential(
                BasicConv2d(c_in, c, 1),
                BasicConv2d(c, c, (1, k)),
                BasicConv2d(c, c, (k, 1)),
                BasicConv2d(c, c, 3, dilation=k),
            )
            self.add_module(f"branch{i}", branch)
        self.conv_cat, self.conv_res = BasicConv2d(4 * c, c, 3), BasicConv2d(c_in, c, 1)

    def forward(self, x):
        branches = [b(x) for b in (self.branch0, self.branch1, self.branch2, self.branch3)]
        return F.relu(self.conv_cat(torch.cat(branches, 1)) + self.conv_res(x))


class PartialDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        for i in (1, 2, 3, 4):
            self.add_module(f"conv_upsample{i}", BasicConv2d(c, c, 3))
        self.conv_upsample5 = BasicConv2d(2 * c, 2 * c, 3)
        self.conv_concat2 = BasicConv2d(2 * c, 2 * c, 3)
        self.conv_concat3 = BasicConv2d(3 * c, 3 * c, 3)
        self.conv4, self.conv5 = BasicConv2d(3 * c, 3 * c, 3), nn.Conv2d(3 * c, 1, 1)

    def forward(self, x5, x4, x3):
        def up(x):
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

        y4 = self.conv_upsample1(up(x5)) * x4
        y3 = self.conv_upsample2(up(up(x5))) * self.conv_upsample3(up(x4)) * x3
        y4 = self.conv_concat2(torch.cat((y4, self.conv_upsample4(up(x5))), 1))
        y3 = self.conv_concat3(torch.cat((y3, self.conv_upsample5(up(y4))), 1))
        return self.conv5(self.conv4(y3))


class InfNet(nn.Module):
    """`backbone` is as ours is called; forward returns S_3, (S_e,), (S_g, S_5, S_4)."""

    def __init__(self, backbone="res2net50", width=64, blocks=(3, 4, 6, 3)):
        super().__init__()
        if backbone == "vgg16":
            self.vgg = InfNetVGG(width)
            f2, f3, f4, f5 = 2 * width, 4 * width, 8 * width, 8 * width
        else:
            block = Bottle2neck if backbone == "res2net50" else Bottleneck
            self.resnet = ResNet(block, width, blocks)
            f2, f3, f4, f5 = (width << i for i in (2, 3, 4, 5))
        for i, f in ((2, f3), (3, f4), (4, f5)):
            self.add_module(f"rfb{i}_1", ReceptiveField(f, width // 2))
        self.ParDec = PartialDecoder(width // 2)
        for i, f, c, kernel, convs, last in (
            (4, f5, 4 * width, 5, 3, 1),
            (3, f4, width, 3, 2, 3),
            (2, f3, width, 3, 2, 3),
        ):
            self.add_module(f"ra{i}_conv1", BasicConv2d(f, c, 1))
            for j in range(convs):
                module = BasicConv2d(c + (0 if j else width), c, kernel)
                self.add_module(f"ra{i}_conv{j + 2}", module)
            self.add_module(f"ra{i}_conv{convs + 2}", BasicConv2d(c, 1, last))
        self.edge_conv1 = BasicConv2d(f2, width, 1)
        self.edge_conv2 = BasicConv2d(width, width, 3)
        self.edge_conv3 = BasicConv2d(width, width, 3)
        self.edge_conv4 = BasicConv2d(width, 1, 3)

    def forward(self, x):
        def fit(x, size):
            return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

        _, f2, f3, f4, f5 = self.vgg(x) if hasattr(self, "vgg") else self.resnet(x)
        edges = self.edge_conv3(self.edge_conv2(self.edge_conv1(f2)))
        maps = [self.ParDec(self.rfb4_1(f5), self.rfb3_1(f4), self.rfb2_1(f3))]
        for i, f in ((4, f5), (3, f4), (2, f3)):
            deeper = fit(maps[-1], f.shape[2:])
            y = getattr(self, f"ra{i}_conv1")(f * (1 - torch.sigmoid(deeper)))
            y = torch.cat((y, fit(edges, f.shape[2:])), 1)
            last = 5 if i == 4 else 4
            for j in range(2, last):
                y = F.relu(getattr(self, f"ra{i}_conv{j}")(y))
            maps.append(getattr(self, f"ra{i}_conv{last}")(y) + deeper)
        edge = fit(self.edge_conv4(edges), x.shape[2:])
        *masks, prediction = (fit(s, x.shape[2:]) for s in maps)
        return prediction, (edge,), tuple(masks)


def imagenet_channels(grey):
    """Three equal channels (N, 3, H, W), normalised as ImageNet's, of (N, H, W, 1) in 0..1."""
    rgb = torch.from_numpy(grey).permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return (rgb - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
