"""What the dev extra brings for the oldest Python only; elsewhere tests that need it skip."""

import importlib
import sys

import pytest

# Here all of it is installed, and absence is an error.
OLDEST = (3, 11)
# As the markers in pyproject.toml say: PyTorch is large, and pysodmetrics holds NumPy back.
OLDEST_ONLY = {"torch", "py_sod_metrics"}


def module(package, name=None):
    """Returns a package, or a module that imports it; where it is not, skips the test that asks."""
    if sys.version_info[:2] != OLDEST:
        wanted = f"needs {package}, which is not installed; the dev extra brings it for Python 3.11"
        pytest.importorskip(package, reason=wanted)
    return importlib.import_module(name or package)
