"""The reader of compiled programs, against XLA's own counts and against counts by hand."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

FOLDER = Path(__file__).parents[2] / "benchmarks" / "compiled"


@pytest.fixture(scope="module")
def hlo():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("hlo")


def compiled(function, *arrays):
    return jax.jit(function).lower(*arrays).compile()


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": [(1, 1), (1, 1)]},
        {"window_strides": (2, 1), "padding": [(1, 1), (2, 0)], "rhs_dilation": (1, 2)},
        {"window_strides": (1, 1), "padding": [(2, 2), (1, 2)], "lhs_dilation": (2, 3)},
        {"window_strides": (1, 1), "padding": "VALID", "feature_group_count": 2},
    ],
    ids=["3x3", "strided and dilated", "transposed", "groups"],
)
def test_a_convolution_counts_as_xla_counts_it(hlo, options):
    groups = options.get("feature_group_count", 1)
    x, kernel = jnp.ones((2, 11, 13, 4)), jnp.ones((3, 3, 4 // groups, 6))

    def convolve(x, kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, **options, dimension_numbers=axes)

    for function in (convolve, jax.grad(lambda *a: convolve(*a).sum(), argnums=1)):
        there = compiled(function, x, kernel)
        program, counts = hlo.read(there.as_text()), there.cost_analysis()
        assert program.flops == counts["flops"] > 0
        assert program.bytes == pytest.approx(counts["bytes accessed"], rel=0.05)


def test_a_training_step_counts_nearly_as_xla_counts_it(hlo):
    """XLA counts sums and products of the rest too, which are few."""
    kernels = jnp.ones((3, 3, 1, 8)), jnp.ones((3, 3, 8, 8))

    def loss(kernels, x):
        for kernel in kernels:
            axes = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)
            x = jax.nn.relu(x - x.mean((0, 1, 2), keepdims=True))
        return (x**2).mean()

    there = compiled(jax.grad(loss), kernels, jnp.ones((2, 32, 32, 1)))
    program, counts = hlo.read(there.as_text()), there.cost_analysis()
    assert 0.9 * counts["flops"] < program.flops <= counts["flops"]
    assert program.bytes == pytest.approx(counts["bytes accessed"], rel=0.05)
    assert program.unknown_loops == 0


def test_what_is_in_a_loop_counts_as_often_as_it_runs(hlo):
    def loop(x):
        return lax.fori_loop(0, 7, lambda _, y: jnp.tanh(y @ y), x)

    program = hlo.read(compiled(loop, jnp.ones((16, 16))).as_text())
    assert program.flops == 7 * 2 * 16**3
    assert program.unknown_loops == 0


# As XLA prints a program for a GPU, much shortened.
GPU = (Path(__file__).parents[1] / "golden" / "gpu_program.txt").read_text()
# Of 8 places and 3 taps, 8 + 7 + 7 meet a pixel along each axis.
EACH = 2 * 2 * 4 * 3 * 22**2


def test_a_program_of_a_gpu_is_read(hlo):
    program = hlo.read(GPU)
    kinds = [kernel.kind for kernel in program.kernels]
    assert kinds == [
        *(hlo.FORWARD, hlo.FORWARD, "elementwise", hlo.BY_FILTER, hlo.BY_INPUT, "elementwise")
    ]
    assert [kernel.flops for kernel in program.kernels] == [EACH, EACH, 0, EACH, EACH, 0]
    x, w, y = 2 * 8 * 8 * 3 * 2, 4 * 27 * 2, 2 * 8 * 8 * 4 * 2
    moved = [x + w + y, x + w + y, 3 * y, x + y + 4 * 27 * 4, y + w + x, y]
    assert [kernel.bytes for kernel in program.kernels] == moved
    assert program.repeated() == 1
    assert {k.layout for k in program.kernels if k.flops} == {"b01f_o01i->b01f"}
    assert {k.dtype for k in program.kernels if k.flops} == {"bf16"}


def test_the_least_time_is_that_of_bytes_or_of_flops(hlo):
    program = hlo.read(GPU)
    by_bytes = program.least_seconds(1.0, {"bf16": 1e12})
    assert by_bytes == pytest.approx(program.bytes)
    by_flops = program.least_seconds(1e12, {"bf16": 1.0})
    assert by_flops == pytest.approx(4 * EACH)
    np.testing.assert_equal(hlo.from_json(hlo.to_json(program)), program)
