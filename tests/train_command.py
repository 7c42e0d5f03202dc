"""train.py's command line in the process of a test: starting another costs seconds of imports."""

import importlib.util
import sys
from pathlib import Path

from absl import flags

ROOT = Path(__file__).parents[1]


def train_py(monkeypatch, *arguments):
    """Runs train.py in this process; returns the exit status."""
    if "train_py" not in sys.modules:
        spec = importlib.util.spec_from_file_location("train_py", ROOT / "train.py")
        sys.modules["train_py"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["train_py"])
    module = sys.modules["train_py"]
    argv = ["train.py", *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", argv)
    flags.FLAGS.unparse_flags()
    for name in [name for name in flags.FLAGS if name.startswith("config.")]:
        delattr(flags.FLAGS, name)
    try:
        module.main(module.parse_flags(argv)[:1])
    except SystemExit as stopped:
        return stopped.code
    return 0
