"""What the tests of the networks share."""

import jax
import pytest

# On networks this small nearly all the time is compilation; these make it some five times shorter.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def _quickly(function, *args):
    lowered = jax.jit(function).lower(*args)
    try:
        return lowered.compile(compiler_options=QUICK)
    except jax.errors.JaxRuntimeError:
        return lowered.compile()


@pytest.fixture(scope="session")
def quickly():
    """Compiles a function for its arguments; without the quick options if XLA has dropped one."""
    return _quickly
