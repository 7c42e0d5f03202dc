"""Writes the weights of a run's best epoch, or the last, as one file, for `predict --weights`."""

import argparse
import json
from pathlib import Path

from cosup_jax import config, runs, weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the arguments."""
    parser.add_argument("--workdir", type=Path, required=True, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, required=True, help="the file, .safetensors")
    parser.add_argument(
        "--card",
        type=Path,
        help="JSON object to keep in the file: data, licence, scores",
    )
    parser.add_argument("--last", action="store_true", help="the last epoch, not the best")
    parser.set_defaults(overrides=None)


def run(arguments: argparse.Namespace) -> int:
    """Writes the file."""
    card = {}
    if arguments.card:
        try:
            card = json.loads(arguments.card.read_text())
        except (ValueError, RecursionError) as error:  # also of bytes that are no text
            raise config.ConfigError(f"{arguments.card}: not JSON: {error}") from error
        if not isinstance(card, dict):
            raise config.ConfigError(f"{arguments.card}: expected a JSON object")
        named = card.get("trained_on", [])
        if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
            raise config.ConfigError(
                f"{arguments.card}: trained_on is {named!r}; expected a list of patients' ids, all "
                "texts, without which no training could start from the file"
            )
    found = runs.open_run(arguments.workdir, last=arguments.last)
    weights.save(arguments.out, found, card)
    size = arguments.out.stat().st_size / 2**20
    print(f"{arguments.out}: epoch {found.epoch} of {arguments.workdir}, {size:.1f} MiB")
    return 0
