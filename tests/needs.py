"""What the dev extra brings for the oldest Python only; elsewhere a test that needs it is skipped."""

import importlib
import sys

import pytest

# As the markers in pyproject.toml say: up to here it is installed, and absence is an error.
EVERYTHING_UP_TO = (3, 11)


def module(name, package):
    """A module that is, or imports, a package; skips the test (or file) that asks where it is not."""
    if sys.version_info[:2] > EVERYTHING_UP_TO:
        reason = f"needs {package}, which the dev extra does not bring for this Python"
        pytest.importorskip(package, reason=reason)
    return importlib.import_module(name)


def torch(name="torch"):
    """PyTorch, or a module that imports it."""
    return module(name, "torch")


def pysodmetrics():
    """The independent implementation of S, E and MAE; its releases hold NumPy down."""
    return module("py_sod_metrics", "py_sod_metrics")
