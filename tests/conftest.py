"""The strict environment all tests run in: four fake CPU devices, no silent rank promotion."""

import fcntl
import importlib.util
import mmap
import os
from pathlib import Path

# In the environment, so that processes which tests start have all of it too.
os.environ["JAX_PLATFORMS"] = "cpu"
# On networks as small as here nearly all the time is compilation: XLA shall not try hard.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# Not in the user's own cache.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.abspath(".jax_cache")

import hypothesis
import jax
import pytest


def knows(flag):
    """Whether this jaxlib has an XLA flag; XLA ends the process at one that it has not."""
    for path in Path(importlib.util.find_spec("jaxlib").origin).parent.rglob("*.so"):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
            if code.find(flag.encode()) >= 0:
                return True
    return False


# XLA reads them when the first device is asked for.
FLAGS = "--xla_force_host_platform_device_count=4"
if knows("xla_cpu_use_fusion_emitters"):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"

# The same examples in every run, and no test fails because a machine is slow.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("same")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a finished run on tiny phantoms, made once for all processes; only to be read.

    Its dataset lies in the folder `tfds` beside it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(shared / "tiny_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "tiny_run").exists():
            from cosup_jax.experiments.trials import train_and_evaluate
            from tests.phantoms import tiny_config

            train_and_evaluate(tiny_config(shared / "tfds"), shared / "tiny_run_unfinished")
            (shared / "tiny_run_unfinished").rename(shared / "tiny_run")
    return shared / "tiny_run"


@pytest.fixture
def strict_dtypes():
    """Strict dtype promotion, for our own pure functions (optax and BatchNorm break under it)."""
    with jax.numpy_dtype_promotion("strict"):
        yield
