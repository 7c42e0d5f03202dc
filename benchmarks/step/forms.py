"""Two forms of one computation, side by side: what the network uses and what it could use.

    python benchmarks/step/forms.py --batch 4 --side 128 --width 64 --out forms.json

Every row is the same result computed in two ways (checked), mostly with its gradient, on maps such
as the network has at full resolution. On a CPU the processor's seconds are counted, which other
work on the machine hardly changes; elsewhere the clock's. The forms take turns, and the least of
the rounds is shown: of a form on a busy machine that is the best estimate. Bytes are XLA's.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax.models import convolution
from cosup_jax.models.fusion import sum_shifted
from cosup_jax.models.layers import DoublingConv, ResidualBlock, light, max_pool
from cosup_jax.models.resizing import resize, resize_planes

CLOSE = 1e-3
Form = tuple[str, Callable]
NHWC = ("NHWC", "HWIO", "NHWC")
SAME = ((1, 1), (1, 1))


def main() -> None:
    """Times all pairs, prints the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="pairs whose name holds this")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    arguments = parser.parse_args()
    print(f"batch {arguments.batch}, {arguments.side}², width {arguments.width}, {_device()}\n")
    times = "ms | clock ms | MB"
    print(f"| what | first form | {times} | second form | {times} | second : first |")
    print("| --- " * 10 + "|")
    rows = []
    for what, first, second, inputs in pairs(arguments):
        if arguments.only not in what:
            continue
        rows.append({"what": what, "forms": measure([first, second], inputs, arguments.repeats)})
        a, b = rows[-1]["forms"]
        cells = [
            f"{f['name']} | {1e3 * f['seconds']:.1f} | {1e3 * f['clock']:.1f} | "
            f"{f['bytes'] / 1e6:.0f}"
            for f in (a, b)
        ]
        ratio = b["seconds"] / a["seconds"]
        print(f"| {what} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


def pairs(a: argparse.Namespace):
    """Yields what is computed, its two forms and their inputs."""
    random = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(random.standard_normal(shape, np.float32))

    half, n, c = a.side // 2, a.side, a.width
    x, kernel, y = draw(a.batch, n, n, c), draw(3, 3, c, c), draw(a.batch, n, n, c)
    low = draw(a.batch, half, half, c)

    plain, matrix = nn.ConvTranspose(c, (2, 2), (2, 2)), DoublingConv(c)
    weights = plain.init(jax.random.key(0), low)
    yield (
        "2×2 transposed convolution and gradient",
        ("convolution", with_gradient(plain.apply)),
        ("matrix product", with_gradient(matrix.apply)),
        (weights, low),
    )
    blocks = ResidualBlock(c), light(ResidualBlock, 2)(c)
    variables = blocks[0].init(jax.random.key(0), x, False)
    train = [lambda v, x, b=b: b.apply(v, x, True, mutable=["batch_stats"])[0] for b in blocks]
    yield (
        "residual block and gradient",
        ("all kept", with_gradient(train[0])),
        ("convolutions kept", with_gradient(train[1])),
        (variables, x),
    )
    size = (n, n)
    for factor in (2, 4, 8, 16):
        yield (
            f"resize of ten maps, ×{factor}, and gradient",
            ("jax.image.resize", with_gradient(lambda m: resize(m, size))),
            ("phases", with_gradient(lambda m: resize_by_phases(m, size))),
            (draw(a.batch, n // factor, n // factor, 10),),
        )
    for factor in (2, 4, 8, 16):
        yield (
            f"sum of nine shifted maps, ×{factor}, and gradient",
            (
                "enlarged, shifted",
                with_gradient(lambda m: sum_shifted(resize_planes(m, size), size)),
            ),
            ("two products", with_gradient(lambda m: sum_shifted(m, size))),
            (draw(9, a.batch, n // factor, n // factor),),
        )
    single, taps = draw(a.batch, n, n, 1), draw(3, 3, 1, c)
    yield (
        "3×3 convolution of one channel",
        ("convolution", convolve),
        ("products by tap", lambda x, k: convolution.of_one_channel(x, k, SAME)),
        (single, taps),
    )
    yield (
        "2×2 maximum and gradient",
        ("reduce_window", with_gradient(lambda m: nn.max_pool(m, (2, 2), (2, 2)))),
        ("three maxima", with_gradient(max_pool)),
        (x,),
    )
    yield (
        "3×3 convolution and gradient",
        ("NHWC", with_gradient(convolve)),
        ("NCHW", with_gradient(convolve_nchw)),
        (x, kernel),
    )
    yield (
        "3×3 convolution",
        ("direct", convolve),
        ("Winograd F(2×2, 3×3)", winograd),
        (x, kernel),
    )
    yield (
        "gradient by a 3×3 kernel",
        ("batch at once", kernel_gradient),
        ("slice by slice", lambda x, y: kernel_gradient_in_parts(x, y, len(x))),
        (x, y),
    )
    yield (
        "gradient by a 3×3 kernel",
        ("batch at once", kernel_gradient),
        ("two halves", lambda x, y: kernel_gradient_in_parts(x, y, 2)),
        (x, y),
    )
    yield (
        "gradient by a 3×3 kernel",
        ("convolution", kernel_gradient),
        ("nine matrix products", kernel_gradient_by_products),
        (x, y),
    )
    yield (
        "gradient by a 3×3 kernel",
        ("convolution", kernel_gradient),
        ("some rows at a time", lambda x, y: convolution.kernel_gradient(x, y, (3, 3), SAME)),
        (x, y),
    )
    wide = draw(3, 3, 2 * c, c)
    yield (
        "convolution of two maps and gradient",
        ("concatenated", with_gradient(lambda x, y, k: convolve(jnp.concatenate([x, y], -1), k))),
        ("split kernel", with_gradient(lambda x, y, k: _split(x, y, k, c))),
        (x, y, wide),
    )
    scale, shift = draw(c), draw(c)
    yield (
        "convolution, running statistics, ReLU",
        ("normalised", lambda x, k, s, b: nn.relu(convolve(x, k) * s[_ALL] + b[_ALL])),
        ("folded", lambda x, k, s, b: nn.relu(convolve(x, k * s[_ALL]) + b[_ALL])),
        (x, kernel, scale, shift),
    )


_ALL = (None, None, None)


def measure(forms: list[Form], inputs: Any, repeats: int) -> list[dict[str, Any]]:
    """Returns seconds (of the processor on a CPU), those by the clock, and bytes of each form.

    Raises:
      AssertionError: the forms disagree.
    """
    count = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    compiled = [jax.jit(function).lower(*inputs).compile() for _, function in forms]
    results = [jax.tree.leaves(jax.block_until_ready(run(*inputs))) for run in compiled]
    for a, b in zip(*results, strict=True):
        assert float(jnp.linalg.norm(a - b)) <= CLOSE * float(jnp.linalg.norm(a)), forms
    times: list[list[tuple[float, float]]] = [[] for _ in forms]
    for _ in range(repeats):
        for run, found in zip(compiled, times, strict=True):
            began, at = count(), time.perf_counter()
            jax.block_until_ready(run(*inputs))
            found.append((count() - began, time.perf_counter() - at))
    least = [map(min, zip(*found, strict=True)) for found in times]
    return [
        {
            "name": name,
            "seconds": seconds,
            "clock": clock,
            "bytes": run.cost_analysis()["bytes accessed"],
        }
        for (name, _), (seconds, clock), run in zip(forms, least, compiled, strict=True)
    ]


def with_gradient(function: Callable) -> Callable:
    """Returns a function of the same inputs that returns the result and the gradients of its sum.

    The sum is weighted, so that no gradient is a constant.
    """

    def run(*inputs: Any) -> Any:
        out, pull = jax.vjp(function, *inputs)
        return out, pull(jnp.cos(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape))

    return run


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the 3×3 convolution, zero-padded."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


def convolve_nchw(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the same with channels before rows inside; the transposes are part of it."""
    y = jax.lax.conv_general_dilated(
        x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), (1, 1), "SAME"
    )
    return y.transpose(0, 2, 3, 1)


def winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the same by sixteen matrix products for every 2×2 pixels instead of 36."""
    b, h, w, c = x.shape
    to_x = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
    to_k = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
    back = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    tiles = [[padded[:, i : i + h : 2, j : j + w : 2] for j in range(4)] for i in range(4)]
    stacked = jnp.stack([jnp.stack(row) for row in tiles]).reshape(4, 4, -1, c)
    values = jnp.einsum("ai,bj,ijnc->abnc", to_x, to_x, stacked)
    kernels = jnp.einsum("ai,bj,ijcf->abcf", to_k, to_k, kernel)
    products = jnp.einsum("abnc,abcf->abnf", values, kernels)
    y = jnp.einsum("pa,qb,abnf->npqf", back, back, products)
    return y.reshape(b, h // 2, w // 2, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)


def kernel_gradient(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the gradient of Σ convolve(x, kernel) · y by the kernel."""
    kernel = jnp.zeros((3, 3, x.shape[-1], y.shape[-1]))
    return jax.vjp(lambda k: convolve(x.reshape(-1, *x.shape[-3:]), k), kernel)[1](y)[0]


def kernel_gradient_in_parts(x: jax.Array, y: jax.Array, parts: int) -> jax.Array:
    """Returns the same as the sum over parts of the batch, which do not depend on each other."""
    return sum(map(kernel_gradient, jnp.split(x, parts), jnp.split(y, parts)))


def kernel_gradient_by_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the same, one product of shifted pixels × channels for each tap."""
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [[padded[:, i : i + h, j : j + w] for j in range(3)] for i in range(3)]
    return jnp.stack(
        [jnp.stack([jnp.einsum("nhwc,nhwf->cf", tap, y) for tap in row]) for row in shifted]
    )


def resize_by_phases(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Returns what `resize` does for a whole factor, one axis and one phase at a time."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        n = x.shape[axis]
        factor = wanted // n
        # Each pixel's neighbours before and behind it, at the border itself.
        first, last, but_first, but_last = (
            jax.lax.slice_in_dim(x, *bounds, axis=axis)
            for bounds in ((0, 1), (n - 1, n), (1, n), (0, n - 1))
        )
        before = jnp.concatenate([first, but_last], axis)
        after = jnp.concatenate([but_first, last], axis)
        places = [(p + 0.5) / factor - 0.5 for p in range(factor)]
        phases = [(1 - abs(t)) * x + abs(t) * (before if t < 0 else after) for t in places]
        x = jnp.stack(phases, axis + 1).reshape(*x.shape[:axis], wanted, *x.shape[axis + 1 :])
    return x


def _split(x: jax.Array, y: jax.Array, kernel: jax.Array, c: int) -> jax.Array:
    return convolve(x, kernel[:, :, :c]) + convolve(y, kernel[:, :, c:])


def _device() -> str:
    return jax.local_devices()[0].device_kind


if __name__ == "__main__":
    main()
