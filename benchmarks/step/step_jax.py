"""The jobs of `step` in this package: its own training step, its own prediction."""

import math
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from step_job import COPY_BYTES, MATMUL_SIDE, Job, Work

from cosup_jax import devices, losses, models
from cosup_jax.models import convolution
from cosup_jax.runs.state import create_state, make_optimizer
from cosup_jax.training import step
from cosup_jax.training.step import parallel_train_step


def prepare(job: Job) -> Work:
    """Makes everything a job needs and compiles it."""
    if job.precision == "fp32":
        # On GPUs XLA takes TF32 for float32 unless told otherwise; on CPUs this changes nothing.
        jax.config.update("jax_default_matmul_precision", "highest")
    return {"train": _train, "infer": _infer, "matmul": _matmul, "copy": _copy}[job.work](job)


def gpu_peak(work: Work) -> int:
    """Returns the GPU memory in use at its highest since the start, compilation included."""
    work.run(1)
    return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]


def versions() -> dict[str, str]:
    """Returns what the results depend on."""
    return {"jax": jax.__version__, "device": jax.local_devices()[0].device_kind}


def _train(job: Job) -> Work:
    began = time.perf_counter()
    on = jax.local_devices()[:1]
    state = devices.replicate(_state(job, axis_name=devices.AXIS), on)
    batch = devices.shard(job.arrays(), on)
    jax.block_until_ready((state, batch))
    initialised = time.perf_counter()
    mapped, facts, program = _compile(
        lambda: parallel_train_step(losses.joint_loss, on), state, batch
    )
    facts["init_s"] = initialised - began

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, metrics = mapped(state, batch)
        jax.block_until_ready((state, metrics))

    return Work(run, lambda: _bytes((state, batch)), facts, program)


def _infer(job: Job) -> Work:
    began = time.perf_counter()
    state = _state(job)
    # What prediction does not use is not put on the device.
    state = jax.device_put(state.replace(opt_state=(), tx=None))
    image = jax.device_put(job.arrays()["image"])
    jax.block_until_ready((state, image))
    initialised = time.perf_counter()
    predict, facts, program = _compile(lambda: jax.jit(step.predict_step), state, image)
    facts["init_s"] = initialised - began

    def run(steps: int) -> None:
        jax.block_until_ready([predict(state, image) for _ in range(steps)])

    return Work(run, lambda: _bytes((state, image)), facts, program)


def _matmul(job: Job) -> Work:
    n = MATMUL_SIDE[job.device]
    dtype = jnp.bfloat16 if job.precision == "bf16" else jnp.float32
    a = jnp.full((n, n), 0.5, dtype)
    return _ceiling(jax.jit(lambda a: a @ a), a, {"flops": 2 * n**3})


def _copy(job: Job) -> Work:
    x = jnp.ones(COPY_BYTES[job.device] // 4, jnp.float32)
    return _ceiling(jax.jit(lambda x: x + 1), x, {"bytes": 2 * x.nbytes})


def _ceiling(function: Any, x: jax.Array, facts: dict[str, int]) -> Work:
    def run(steps: int) -> None:
        for _ in range(steps):
            result = function(x)
        jax.block_until_ready(result)

    return Work(run, lambda: x.nbytes, facts)


def _state(job: Job, axis_name: str | None = None):
    dtype = jnp.bfloat16 if job.precision == "bf16" else jnp.float32
    model = models.build("cosup", width=job.width, dtype=dtype, axis_name=axis_name)
    return create_state(model, make_optimizer(1e-4), size=(job.size, job.size), seed=0)


def _compile(
    make: Callable[[], Any], *arguments: Any
) -> tuple[Callable[..., Any], dict[str, Any], str]:
    """Traces and compiles, and returns the function, the facts and the program.

    A later call of the function with these arguments finds the result ready.

    FLOPs are those of the network as written, bytes those of the compiled program. XLA counts what
    is in a loop once, so FLOPs are counted in the form without loops, and bytes are too few where
    the gradient by the kernels has some. For a GPU XLA does not count the form as written.
    """
    began = time.perf_counter()
    function = make()
    compiled = function.lower(*arguments).compile()
    seconds = time.perf_counter() - began
    with mock.patch.object(convolution, "LARGE", math.inf):
        counted = make().lower(*arguments).cost_analysis() or {}
    plan = compiled.memory_analysis()
    facts = {
        "compile_s": seconds,
        **({"flops": counted["flops"]} if counted else {}),
        "bytes": compiled.cost_analysis()["bytes accessed"],
        # A donated argument and the result in its place are counted twice.
        "planned_bytes": plan.argument_size_in_bytes
        + plan.output_size_in_bytes
        + plan.temp_size_in_bytes
        - plan.alias_size_in_bytes,
    }
    return function, facts, compiled.as_text()


def _bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
