"""The strict environment all tests run in: four fake CPU devices, no silent rank promotion."""

import fcntl
import gc
import os
import subprocess
import sys

# In the environment, so that processes which tests start have all of it too.
os.environ["JAX_PLATFORMS"] = "cpu"
# On networks as small as here nearly all the time is compilation: XLA shall not try hard.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# Not in the user's own cache; nearly all is kept, for other tests and processes compile it too.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.abspath(".jax_cache")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# There too what is deprecated is an error, but for the way in which ml_collections opens a file.
os.environ["PYTHONWARNINGS"] = ",".join(
    ("error::DeprecationWarning", "error::FutureWarning", "ignore:the load_module() method")
)

import hypothesis
import jax
import pytest
from matplotlib.figure import Figure

# Nearly all that is allocated while JAX traces is needed until the trace ends: looking for garbage
# as often as Python does by itself finds none and takes a tenth of the time.
gc.set_threshold(20_000, 20, 10)


def accepts(*flags):
    """Whether XLA takes flags: a process of its own asks, since XLA ends it at one it has not."""
    asked = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env=os.environ | {"XLA_FLAGS": " ".join(flags)},
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode and "Unknown flag" not in asked.stderr:
        raise RuntimeError(f"asking XLA for {flags} ended with {asked.returncode}\n{asked.stderr}")
    return not asked.returncode


# XLA reads them when the first device is asked for. The processes which xdist and tests start find
# them in the environment, and do not ask again.
DEVICES = "--xla_force_host_platform_device_count=4"
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    # One piece of code at a time, with two test processes on two cores, and a simpler compiler.
    wanted = ("--xla_cpu_parallel_codegen_split_count=1", "--xla_cpu_use_fusion_emitters=false")
    taken = wanted if accepts(*wanted) else filter(accepts, wanted)
    flags = [os.environ.get("XLA_FLAGS", ""), DEVICES, *taken]
    os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))

# The same examples in every run, in .ci/nightly others; no test fails because a machine is slow.
for profile in ("same", "fuzz"):
    hypothesis.settings.register_profile(
        profile,
        derandomize=profile == "same",
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile("same")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Files that compile or train for long come first, so that at the end no process waits for another.
LONG = ("tests/models/", "tests/training/", "tests/interop/")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_collection_finish():
    """What is imported stays: the search for garbage passes over it from here on."""
    gc.collect()
    gc.freeze()


FSYNC = os.fsync


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """No file is synced, for no machine stops here: thousands of waits would show nothing.

    `synced` has it otherwise, for tests of what is on the disk and when. The processes that tests
    start sync as ever, and `.ci/kill_sweep.py` kills them before, after and amid it.
    """

    def fsync(descriptor):
        os.fstat(descriptor)  # a closed one is refused as ever

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.fixture
def synced(monkeypatch):
    """Files are synced as outside of the tests."""
    monkeypatch.setattr(os, "fsync", FSYNC)


SAVEFIG = Figure.savefig


@pytest.fixture(scope="session", autouse=True)
def no_drawing_of_figures():
    """Figures are made up and saved, but not drawn, which takes longer than a tiny run's training.

    `drawn` has it otherwise, for tests of what figures show and for each kind of figure once.
    """

    def savefig(figure, content, **options):
        content.write(b"a figure")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture
def drawn(monkeypatch):
    """Figures are drawn as outside of the tests."""
    monkeypatch.setattr(Figure, "savefig", SAVEFIG)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a finished run on tiny phantoms, made once for all processes; only to be read.

    Its dataset lies in the folder `tfds` beside it. Its figures are drawn.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(shared / "tiny_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "tiny_run").exists():
            from cosup_jax.experiments.trials import train_and_evaluate
            from tests.phantoms import tiny_config

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Figure, "savefig", SAVEFIG)
                train_and_evaluate(tiny_config(shared / "tfds"), shared / "tiny_run_unfinished")
            (shared / "tiny_run_unfinished").rename(shared / "tiny_run")
    return shared / "tiny_run"


@pytest.fixture(scope="session")
def tiny_weights(tiny_run):
    """The file of the tiny run's weights, made once for all processes; only to be read."""
    from cosup_jax import runs, weights

    path = tiny_run.parent / "tiny.safetensors"
    with open(tiny_run.parent / "tiny_weights.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            weights.save(path, runs.open_run(tiny_run), {"licence": "none; phantoms"})
    return path


@pytest.fixture
def strict_dtypes():
    """Strict dtype promotion, for our own pure functions (optax and BatchNorm break under it)."""
    with jax.numpy_dtype_promotion("strict"):
        yield
