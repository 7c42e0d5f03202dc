"""What the tests of the networks share."""

import jax
import pytest

# On networks this small nearly all the time is compilation; these make it some five times shorter.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


def _takes(option):
    """Whether XLA still has an option of compilation."""
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={option: QUICK[option]})
    except jax.errors.JaxRuntimeError:
        return False
    return True


@pytest.fixture(scope="session")
def quickly():
    """Compiles a function for its arguments, with those of the quick options that XLA still has."""
    options = {option: value for option, value in QUICK.items() if _takes(option)}
    return lambda function, *args: jax.jit(function).lower(*args).compile(compiler_options=options)
