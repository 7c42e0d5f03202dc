"""The comparators as plain functions in PyTorch, with the names of their authors' files.

Written from descriptions of the authors' code, not from the networks here.
"""

from tests.models.torch_plain import F, aligned, half_pixel, torch


def deeplabv3plus(net, x, stride=16, classes=1):
    """At stride 16 the dilations are 2, 4, 8 in layer 4; at 8, 2 in layer 3 and 4, 8, 16."""
    n, w = net.blocks, net.w
    last = [(2 if stride == 16 else 4) * grid for grid in (1, 2, 4)]
    dilations = [[1] * n[0], [1] * n[1], [1 if stride == 16 else 2] * n[2], last]
    strides = (1, 2, 2, 1) if stride == 16 else (1, 2, 1, 1)
    _, low, *_, deep = net.resnet(x, "backbone.", strides=strides, dilations=dilations)
    rates = (6, 12, 18) if stride == 16 else (12, 24, 36)
    parts = [net.cbr(deep, "aspp.aspp1.atrous_conv", "aspp.aspp1.bn", 4 * w)]
    for i, rate in enumerate(rates, 2):
        names = f"aspp.aspp{i}.atrous_conv", f"aspp.aspp{i}.bn"
        parts.append(net.cbr(deep, *names, 4 * w, 3, d=rate))
    mean = F.adaptive_avg_pool2d(deep, 1)
    mean = net.cbr(mean, "aspp.global_avg_pool.1", "aspp.global_avg_pool.2", 4 * w)
    parts.append(aligned(mean, deep))
    deep = net.cbr(torch.cat(parts, 1), "aspp.conv1", "aspp.bn1", 4 * w)
    low = net.cbr(low, "decoder.conv1", "decoder.bn1", 48 * w // 64)
    y = torch.cat([aligned(deep, low), low], 1)
    y = net.cbr(y, "decoder.last_conv.0", "decoder.last_conv.1", 4 * w, 3)
    y = net.cbr(y, "decoder.last_conv.4", "decoder.last_conv.5", 4 * w, 3)
    y = net.conv(y, "decoder.last_conv.8", classes, bias=True)
    return aligned(y, x), (), ()


def pspnet(net, x):
    n, w = net.blocks, net.w
    stem = net.cbr(x, "layer0.0", "layer0.1", w, 3, stride=2)
    stem = net.cbr(stem, "layer0.3", "layer0.4", w, 3)
    stem = net.cbr(stem, "layer0.6", "layer0.7", 2 * w, 3)
    dilations = [[1] * n[0], [1] * n[1], [2] * n[2], [4] * n[3]]
    *_, c3, c4 = net.layers(stem, "", strides=(1, 2, 1, 1), dilations=dilations)
    parts = [c4]
    for i, bins in enumerate((1, 2, 3, 6)):
        pooled = F.adaptive_avg_pool2d(c4, bins)
        pooled = net.cbr(pooled, f"ppm.features.{i}.1", f"ppm.features.{i}.2", 8 * w)
        parts.append(aligned(pooled, c4))
    y = net.cbr(torch.cat(parts, 1), "cls.0", "cls.1", 8 * w, 3)
    y = net.conv(y, "cls.4", 1, bias=True)
    aux = net.conv(net.cbr(c3, "aux.0", "aux.1", 4 * w, 3), "aux.4", 1, bias=True)
    return aligned(y, x), (), (aligned(aux, x),)


def scrn(net, x, units=2):
    """Every convolution outside the backbone has a norm and no ReLU."""
    c = net.w // 2
    _, *maps = net.resnet(x, "resnet.")

    def convs(x, name, *kernels):
        for i, (k, out) in enumerate(kernels):
            x = net.cb(x, f"{name}.{i}.conv_bn.0", f"{name}.{i}.conv_bn.1", out, k)
        return x

    def reduced(which):
        kernels = (1, c), (3, c), (3, c)
        return [convs(f, f"reduce_{which}{i}.reduce", *kernels) for i, f in enumerate(maps, 1)]

    s, e = reduced("s"), reduced("e")
    for unit in [f"df{i + 1}" for i in range(units)]:

        def up(deep, to, number, unit=unit):
            name = f"{unit}.conv{number}.conv.conv_bn"
            return net.cb(aligned(deep, to), f"{name}.0", f"{name}.1", c)

        def twice(x, number, unit=unit):
            return convs(x, f"{unit}.conv_f{number}", (3, c), (3, c))

        s_in = (
            [s[0], e[0], up(e[1], e[0], 1), up(e[2], e[0], 2), up(e[3], e[0], 3)],
            [s[1], e[1], up(e[2], e[1], 4), up(e[3], e[1], 5)],
            [s[2], e[2], up(e[3], e[2], 6)],
            [s[3], e[3]],
        )
        e_in = (
            e[0] * s[0] * up(s[1], s[0], 7) * up(s[2], s[0], 8) * up(s[3], s[0], 9),
            e[1] * s[1] * up(s[2], s[1], 10) * up(s[3], s[1], 11),
            e[2] * s[2] * up(s[3], s[2], 12),
            e[3] * s[3],
        )
        s = [s[i] + twice(torch.cat(s_in[i], 1), i + 1) for i in range(4)]
        e = [e[i] + twice(e_in[i], i + 5) for i in range(4)]

    def decoded(maps, name):
        y = maps[3]
        for i, level in enumerate((2, 1, 0), 1):
            up = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
            up = net.cb(
                up, f"{name}.conv_upsample{i}.conv_bn.0", f"{name}.conv_upsample{i}.conv_bn.1", c, 3
            )
            y = convs(torch.cat([maps[level], up], 1), f"{name}.conv_cat{i}", (3, 2 * c), (1, c))
        y = net.cb(y, f"{name}.output.0.conv_bn.0", f"{name}.output.0.conv_bn.1", c, 3)
        return aligned(net.conv(y, f"{name}.output.1", 1, bias=True), x)

    return decoded(s, "output_s"), (decoded(e, "output_e"),), ()


def f3net(net, x):
    _, *deep = net.resnet(x, "bkbone.")
    maps = [
        net.cbr(f, f"squeeze{i}.0", f"squeeze{i}.1", net.w, bias=True)
        for i, f in enumerate(deep, 2)
    ]

    def cfm(left, down, name):
        def c(x, which):
            return net.cbr(x, f"{name}.conv{which}", f"{name}.bn{which}", net.w, 3, bias=True)

        down = half_pixel(down, left)
        h1, v1 = c(left, "1h"), c(down, "1v")
        h2, v2 = c(h1, "2h"), c(v1, "2v")
        f = h2 * v2
        return c(c(f, "3h") + h1, "4h"), c(c(f, "3v") + v1, "4v")

    def decoder(x2, x3, x4, x5, name):
        x4, v = cfm(x4, x5, f"{name}.cfm45")
        x3, v = cfm(x3, v, f"{name}.cfm34")
        x2, p = cfm(x2, v, f"{name}.cfm23")
        return x2, x3, x4, x5, p

    *maps, p1 = decoder(*maps, "decoder1")
    *maps, p2 = decoder(*(m + half_pixel(p1, m) for m in maps), "decoder2")

    def head(m, name):
        return half_pixel(net.conv(m, name, 1, 3, bias=True), x)

    masks = (head(p1, "linearp1"), *(head(m, f"linearr{i}") for i, m in enumerate(maps, 2)))
    return head(p2, "linearp2"), (), masks


def cenet(net, x):
    stem = net.cbr(x, "firstconv", "firstbn", net.w, 7, stride=2)
    _, e1, e2, e3, e4 = net.layers(stem, "", basic=True)
    for name in list(net.state):
        if name.startswith("layer"):
            net.state[name.replace("layer", "encoder", 1)] = net.state.pop(name)
    c = 8 * net.w

    def d(x, name, k, rate):
        return net.conv(x, f"dblock.{name}", c, k, d=rate, bias=True)

    d1 = d(e4, "dilate1", 3, 1)
    d31 = d(d1, "dilate2", 3, 3)
    chains = (
        d1,
        d(d(e4, "dilate2", 3, 3), "conv1x1", 1, 1),
        d(d31, "conv1x1", 1, 1),
        d(d(d31, "dilate3", 3, 5), "conv1x1", 1, 1),
    )
    y = e4 + sum(F.relu(chain) for chain in chains)
    pools = [net.conv(F.max_pool2d(y, k, k), "spp.conv", 1, bias=True) for k in (2, 3, 5, 6)]
    y = torch.cat([*(half_pixel(p, y) for p in pools), y], 1)
    for i, (out, skip) in enumerate(((4, e3), (2, e2), (1, e1), (1, None))):
        name, inner = f"decoder{4 - i}", y.shape[1] // 4
        y = net.cbr(y, f"{name}.conv1", f"{name}.norm1", inner, bias=True)
        y = net.up(y, f"{name}.deconv2", inner, 3, 1, 1)
        y = F.relu(net.norm(y, f"{name}.norm2"))
        y = net.cbr(y, f"{name}.conv3", f"{name}.norm3", out * net.w, bias=True)
        y = y if skip is None else y + skip
    y = F.relu(net.up(y, "finaldeconv1", net.w // 2, 4, 1))
    y = F.relu(net.conv(y, "finalconv2", net.w // 2, 3, bias=True))
    return net.conv(y, "finalconv3", 1, 3, bias=True), (), ()


def danet(net, x):
    n, c = net.blocks, 8 * net.w
    dilations = [[1] * n[0], [1] * n[1], [1, *[2] * (n[2] - 1)], [4, 8, 16]]
    c4 = net.resnet(x, "pretrained.", strides=(1, 2, 1, 1), dilations=dilations)[-1]
    a = net.cbr(c4, "head.conv5a.0", "head.conv5a.1", c, 3)
    q, k, v = (
        net.conv(a, f"head.sa.{name}_conv", out, bias=True).flatten(2)
        for name, out in (("query", c // 8), ("key", c // 8), ("value", c))
    )
    attention = torch.softmax(q.transpose(1, 2) @ k, -1)
    gamma = net.tensor("head.sa.gamma", (1,), 0.4, 0.6)
    a = gamma * (v @ attention.transpose(1, 2)).reshape(a.shape) + a
    a = net.cbr(a, "head.conv51.0", "head.conv51.1", c, 3)
    b = net.cbr(c4, "head.conv5c.0", "head.conv5c.1", c, 3)
    flat = b.flatten(2)
    energy = flat @ flat.transpose(1, 2)
    attention = torch.softmax(energy.max(-1, keepdim=True)[0] - energy, -1)
    gamma = net.tensor("head.sc.gamma", (1,), 0.4, 0.6)
    b = gamma * (attention @ flat).reshape(b.shape) + b
    b = net.cbr(b, "head.conv52.0", "head.conv52.1", c, 3)
    pam, cam, both = (
        aligned(net.conv(y, f"head.conv{i}.1", 1, bias=True), x)
        for i, y in ((6, a), (7, b), (8, a + b))
    )
    return both, (), (pam, cam)


def cpfnet(net, x):
    c1, *deep = net.resnet(x, "backbone.", basic=True)
    c5 = deep[-1]

    def guided(k):
        name, wide = f"mce_{k}", deep[k - 2].shape[1]
        maps = [
            net.cbr(deep[level - 2], f"{name}.conv{level}.0", f"{name}.conv{level}.1", wide, 3)
            for level in range(5, k - 1, -1)
        ]
        joined = torch.cat([aligned(m, deep[k - 2]) for m in maps], 1)
        seen = []
        for i in range(1, len(maps) + 1):
            inside = f"{name}.dilation{i}"
            many = joined.shape[1]
            y = net.conv(joined, f"{inside}.0.conv1", many, 3, d=2 ** (i - 1), depthwise=True)
            y = net.norm(y, f"{inside}.0.bn")
            y = net.conv(y, f"{inside}.0.pointwise", wide)
            seen.append(F.relu(net.norm(y, f"{inside}.1")))
        return net.cb(torch.cat(seen, 1), f"{name}.conv_out.0", f"{name}.conv_out.1", wide)

    c = c5.shape[1]
    net.conv(c5, "sap.conv3x3", c, 3, bias=True)  # draws the kernel and the bias
    kernel, bias = net.state["sap.conv3x3.weight"], net.state["sap.conv3x3.bias"]
    b1, b2, b3 = (
        net.norm(F.conv2d(c5, kernel, bias if d == 1 else None, 1, d, d), f"sap.bn.{i}")
        for i, d in enumerate((1, 2, 4))
    )

    def fuse(u, v):
        y = F.relu(net.conv(torch.cat([u, v], 1), "sap.conv1x1.0", c, bias=True))
        y = F.relu(net.conv(y, "sap.conv3x3_1.0", c // 2, 3, bias=True))
        a = torch.softmax(net.conv(y, "sap.conv3x3_2.0", 2, 3, bias=True), 1)
        return a[:, :1] * u + a[:, 1:] * v

    gamma = net.tensor("sap.gamma", (1,), 0.4, 0.6)
    y = F.relu(gamma * fuse(fuse(b1, b2), b3) + (1 - gamma) * c5)
    y = net.cbr(y, "sap.conv_last.conv", "sap.conv_last.bn", c)

    def decoder(y, i, out):
        name = f"decoder{i}"
        if i < 5:
            y = net.cbr(y, f"{name}.conv_3x3.conv", f"{name}.conv_3x3.bn", y.shape[1], 3)
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return net.cbr(y, f"{name}.conv_1x1.conv", f"{name}.conv_1x1.bn", out)

    y = F.relu(decoder(y, 5, 4 * net.w) + guided(4))
    y = F.relu(decoder(y, 4, 2 * net.w) + guided(3))
    y = F.relu(decoder(y, 3, net.w) + guided(2))
    y = decoder(y, 2, net.w) + c1
    y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
    for i, k in enumerate((1, 3)):
        name = f"main_head.conv_1x1_3x3.{i}"
        y = net.cbr(y, f"{name}.conv", f"{name}.bn", net.w // 2, k)
    return net.conv(y, "main_head.conv_1x1_2", 1, bias=True), (), ()


def acfnet(net, x):
    """With the names of the one public re-implementation, and the paper's class centres."""
    n, w = net.blocks, net.w
    stem = net.cbr(x, "conv1", "bn1", w, 3, stride=2)
    stem = net.cbr(stem, "conv2", "bn2", w, 3)
    stem = net.cbr(stem, "conv3", "bn3", 2 * w, 3)
    dilations = [[1] * n[0], [1] * n[1], [2] * n[2], [4] * n[3]]
    *_, c3, c4 = net.layers(stem, "", strides=(1, 2, 1, 1), dilations=dilations)
    parts = [net.cbr(c4, "aspp.b0.0", "aspp.b0.1", 8 * w)]
    for i, rate in enumerate((12, 24, 36), 1):
        parts.append(net.cbr(c4, f"aspp.b{i}.0", f"aspp.b{i}.1", 8 * w, 3, d=rate))
    mean = net.cbr(F.adaptive_avg_pool2d(c4, 1), "aspp.b4.gap.1", "aspp.b4.gap.2", 8 * w)
    pyramid = torch.cat([*parts, aligned(mean, c4)], 1)
    aux = net.cbr(c3, "auxlayer.conv5.0", "auxlayer.conv5.1", 4 * w, 3)
    aux = net.conv(aux, "auxlayer.conv5.4", 1, bias=True)
    y = net.cbr(pyramid, "dsn.0", "dsn.1", 8 * w)
    y = net.cbr(y, "dsn.4", "dsn.5", 8 * w, 3, bias=True)
    coarse = net.conv(y, "dsn.8", 1, bias=True)
    features = net.cbr(pyramid, "acfhead.acf.conv1.0", "acfhead.acf.conv1.1", 8 * w)
    p = torch.softmax(torch.cat([torch.zeros_like(coarse), coarse], 1), 1)
    centres = [(p[:, [i]] * features).sum((2, 3)) / p[:, [i]].sum((2, 3)) for i in (0, 1)]
    seen = sum(p[:, [i]] * centre[:, :, None, None] for i, centre in enumerate(centres))
    seen = net.conv(seen, "acfhead.acf.conv2", 8 * w, bias=True)
    y = net.cb(torch.cat([seen, pyramid], 1), "bottleneck.0", "bottleneck.1", 16 * w, 3)
    y = net.conv(F.leaky_relu(y, 0.01), "bottleneck.3", 1, bias=True)
    return aligned(y, x), (), (aligned(coarse, x), aligned(aux, x))
