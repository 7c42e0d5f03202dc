"""The programs that are compiled and read, and the cards they are compiled for."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from cosup_jax import config as configuration
from cosup_jax import losses, runs
from cosup_jax.runs.state import create_state, make_optimizer
from cosup_jax.training import step

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU as its maker describes it.

    Attributes:
      name: of the device.
      target: what XLA wants to know of it, as the text of a protocol buffer.
      bandwidth: bytes a second to its memory.
      peaks: FLOPs a second of dense convolutions and products by type; float32 as TF32, which XLA
        takes for it unless told otherwise.
      memory: bytes.
    """

    name: str
    target: str
    bandwidth: float
    peaks: dict[str, float]
    memory: int


def _card(name: str, capability: str, peaks: dict[str, float], **numbers: float) -> Card:
    """Returns a card whose `numbers` are those that XLA wants to know and that differ."""
    fixed = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "fpus_per_core": 128,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
    }
    fields = " ".join(f"{field}: {value}" for field, value in (fixed | numbers).items())
    target = (
        f"gpu_device_info {{ {fields} cuda_compute_capability {{ {capability} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 } '
        f'device_description_str: "{name}"'
    )
    memory = int(numbers["device_memory_size"])
    return Card(name, target, numbers["memory_bandwidth"], peaks, memory)


CARDS = {
    "h100": _card(
        "NVIDIA H100 80GB HBM3",
        "major: 9",
        {"f32": 494.7e12, "bf16": 989.4e12, "f16": 989.4e12},
        shared_memory_per_core=233472,
        threads_per_core_limit=2048,
        core_count=132,
        memory_bandwidth=3352320000000,
        l2_cache_size=52428800,
        clock_rate_ghz=1.98,
        device_memory_size=84942979072,
        shared_memory_per_block_optin=232448,
    ),
    "rtx4060": _card(
        "NVIDIA GeForce RTX 4060",
        "major: 8 minor: 9",
        {"f32": 15.1e12, "bf16": 30.2e12, "f16": 30.2e12},
        shared_memory_per_core=102400,
        threads_per_core_limit=1536,
        core_count=24,
        memory_bandwidth=272000000000,
        l2_cache_size=25165824,
        clock_rate_ghz=2.46,
        device_memory_size=8585740288,
        shared_memory_per_block_optin=101376,
    ),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """A program.

    Attributes:
      config: of `configs/`, which says network, loss and size of slices.
      dtype: in which the network computes.
      batch: slices in a step.
      work: `train` (a step of Adam) or `infer` (probabilities).
      card: one of `CARDS`.
    """

    config: str
    dtype: str
    batch: int = 8
    work: str = "train"
    card: str = "h100"

    @property
    def name(self) -> str:
        """What its files and its row are called."""
        network = self.config.removesuffix(".py").rpartition("net=")[2]
        return f"{network}-{self.work}-{self.dtype}-batch{self.batch}-{self.card}"


FULL, HALF = "float32", "bfloat16"
JOBS = (
    *(Job("c2f.py", dtype, batch) for batch in (8, 32) for dtype in (FULL, HALF)),
    *(Job("c2f.py", dtype, work="infer") for dtype in (FULL, HALF)),
    Job("c2f.py", FULL, card="rtx4060"),
    Job("baseline.py:net=unet", HALF),
    Job("infnet.py", HALF),
    Job("baseline.py:net=deeplabv3plus", HALF),
    Job("baseline.py:net=scrn", HALF),
)


def make(job: Job) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Returns a job's function, whose first argument may be donated, and shapes to call it with."""
    config = configuration.load(str(CONFIGS / job.config))
    config.model.dtype = job.dtype
    size = tuple(config.data.size)
    state = create_state(runs.build_model(config), make_optimizer(1e-4), size=size, seed=0)
    image = jax.ShapeDtypeStruct((job.batch, *size, 1), jnp.float32)
    if job.work == "infer":
        shapes = _shapes(state.replace(opt_state=(), tx=None))
        return step.predict_step, (shapes, image)
    target = jax.ShapeDtypeStruct(image.shape, jnp.uint8)
    batch = {"image": image, "mask": target, "edge": target}
    loss = losses.build(**config.loss.to_dict())
    return functools.partial(step.train_step, loss=loss), (_shapes(state), batch)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
