"""What the parent of `step` and its workers agree on: a job, and how it answers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

MATMUL_SIDE = {"cpu": 2048, "gpu": 8192}
COPY_BYTES = {"cpu": 2**28, "gpu": 2**31}


@dataclasses.dataclass(frozen=True)
class Job:
    """One thing to be timed in a process of its own.

    Attributes:
      framework: `jax`, `torch` or `torch.compile`.
      layout: of PyTorch's tensors, `contiguous` or `channels_last`; empty for JAX.
      work: `train` (forward, joint loss, backward, Adam), `infer` (probabilities), or one of the
        ceilings `matmul` and `copy`.
      device: `cpu` or `gpu`.
      precision: `fp32`, `tf32` or `bf16`.
      batch: slices in a step.
      size: height and width of a slice.
      width: channels of S1 and X1.
      threads: how many CPU threads compute.
    """

    framework: str
    layout: str
    work: str
    device: str
    precision: str
    batch: int
    size: int
    width: int
    threads: int

    @property
    def name(self) -> str:
        """The row's name in the table."""
        return f"{self.framework} {self.layout}".rstrip()

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the batch, the same for every framework: NHWC, targets 0 or 1."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size, 1)
        return {
            "image": rng.standard_normal(shape, np.float32),
            "mask": (rng.random(shape) < 0.1).astype(np.uint8),
            "edge": (rng.random(shape) < 0.02).astype(np.uint8),
        }


@dataclasses.dataclass(frozen=True)
class Work:
    """A job that is ready to run.

    Attributes:
      run: takes that many steps and returns when they are finished.
      resident: bytes of all arrays that live from step to step, once steps have been taken.
      facts: `init_s` (weights, optimizer and batch on the device), `compile_s`, and where known
        `flops` and `bytes` of a step and `planned_bytes`, the memory XLA has planned for one.
      program: what XLA has compiled, as text.
    """

    run: Callable[[int], None]
    resident: Callable[[], int]
    facts: dict[str, Any]
    program: str = ""
