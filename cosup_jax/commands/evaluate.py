r"""Scores a run on any split of any dataset, or saved maps against truths of the same names.

    python -m cosup_jax evaluate --workdir runs/c2f --protocol semiseg
    python -m cosup_jax evaluate --workdir runs/c2f --config.data.name=covid_semiseg \
        --config.data.source=FOLDER --split test --tta flip
    python -m cosup_jax evaluate --predictions MAPS --truth MASKS --protocol semiseg --out DIR

Writes per_slice.csv, per_case.csv, per_volume.csv, summary.json and pictures, and prints the
summary. Of masks of volumes (NIfTI, DICOM Segmentations, results of predict, and with --as-predict
those that predict would write), lesions are counted too, and a Bland-Altman figure shows the
volumes. A run is never scored on patients of another dataset that it was trained on.
"""

import argparse
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cosup_jax import config as configuration
from cosup_jax import evaluation, hosts, options, ranges, runs, volume_options
from cosup_jax.commands import train
from cosup_jax.data import datasets
from cosup_jax.evaluation import map_values, scoring

DEFAULT_FOLDER = "evaluations"
_VALUES = ("prediction_values", "truth_values")
# Fields of which the name of the default folder says the value, or the digest of the dataset's
# content; and one that changes no score.
_IN_THE_NAME = (
    *(f"data.{name}" for name in ("name", "config", "source", "data_dir", "mask_values", "test")),
    "batch_size",
)
_LONGEST = 32  # characters of a part of a name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Defines the command line."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="folder of a finished run")
    what.add_argument(
        "--predictions",
        help="folder of saved maps (grey PNG, .npy in 0..1) or of masks of volumes (NIfTI, DICOM "
        "Segmentations, results of predict), or one such mask",
    )
    parser.add_argument("--truth", help="folder of the masks of --predictions")
    parser.add_argument(
        "--map-values",
        default=map_values.AUTO,
        metavar="VALUES",
        help="what the values of --predictions mean, where they do not tell: labels (any but 0 is "
        "infection), or the value that is certainly infected, such as 255",
    )
    for side in ("prediction", "truth"):
        parser.add_argument(
            f"--{side}-values",
            metavar="VALUE:CLASS,…",
            help=f"what values of {side}s that are volumes mean, such as 0:0,1:0,2:0,3:1 where 1 "
            "and 2 are the lungs; class 0 is no infection",
        )
    parser.add_argument("--protocol", choices=evaluation.PROTOCOLS, default="cosup")
    parser.add_argument("--split", help="by default test, or validation where there is none")
    parser.add_argument(
        "--tta", choices=("flip",), help="average over a slice and its mirror image"
    )
    parser.add_argument(
        "--save-predictions", action="store_true", help="keep the maps as they were scored"
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="of a run write tables alone, which is faster"
    )
    parser.add_argument(
        "--tune-threshold",
        action="store_true",
        help="also report Dice at the threshold that is best on the validation split",
    )
    parser.add_argument(
        "--by-class",
        action="store_true",
        help="score ground-glass, consolidation, … each, of a network that tells them apart",
    )
    parser.add_argument(
        "--as-predict",
        action="store_true",
        help="score the masks that predict would write of the scans, lesions and volumes too",
    )
    parser.add_argument(
        "--out",
        help=f"folder to write to; by default one below WORKDIR/{DEFAULT_FOLDER} with a name that "
        "says what was scored; what an earlier evaluation has left there is replaced",
    )
    train.add_hosts(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scores, prints and writes."""
    where = train.place(arguments)
    if where is not None:
        others = ("predictions", "by_class", "as_predict")
        _check_alone("distributed", arguments, others)
    with hosts.together(where):
        return _score(arguments)


def _score(arguments: argparse.Namespace) -> int:
    if arguments.by_class:
        return _classes(arguments)
    if arguments.predictions:
        summary, out = _saved(arguments), arguments.out
    else:
        summary, out = _network(arguments)
    print(evaluation.table(summary))
    if out is not None:
        print(f"written to {out}")
    return 0


def _saved(arguments: argparse.Namespace) -> dict[str, Any]:
    others = ("no_pictures", "tune_threshold", "as_predict", "overrides")
    for name in ("split", "tta", "save_predictions", *others):
        if getattr(arguments, name):
            raise ValueError(
                f"{options.spelled(name)} needs --workdir, the folder of a run; --predictions are "
                "made"
            )
    if not arguments.truth:
        raise ValueError("--predictions needs --truth, the folder of their masks")
    return evaluation.evaluate_saved(
        arguments.predictions,
        arguments.truth,
        protocol=arguments.protocol,
        out=arguments.out,
        map_values=arguments.map_values,
        **{
            name: datasets.parse_mask_values(given, f"--{options.spelled(name)}")
            for name in _VALUES
            if (given := getattr(arguments, name)) is not None
        },
    )


def _classes(arguments: argparse.Namespace) -> int:
    others = ("predictions", "truth", "save_predictions", "tune_threshold", "as_predict")
    _check_alone("by_class", arguments, others)
    opened = runs.open_run(arguments.workdir, arguments.overrides)
    out = Path(arguments.out) if arguments.out else _default_folder(opened, arguments)
    summaries = evaluation.evaluate_classes(
        opened,
        protocol=arguments.protocol,
        split=arguments.split,
        tta=arguments.tta is not None,
        out=out,
        draw=not arguments.no_pictures,
    )
    for name, summary in summaries.items():
        print(f"{name}: {evaluation.table(summary)}")
    print(f"written to {out}")
    return 0


def _network(arguments: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    if arguments.map_values != map_values.AUTO:
        raise ValueError("--map-values is for --predictions; a run gives probabilities")
    for name in _VALUES:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{options.spelled(name)} is for --predictions, and its --truth")
    if arguments.truth:
        raise ValueError("--truth is for --predictions; a run is scored on its dataset's masks")
    opened = runs.open_run(arguments.workdir, arguments.overrides)
    out = Path(arguments.out) if arguments.out else _default_folder(opened, arguments)
    if arguments.as_predict:
        others = ("save_predictions", "tune_threshold", "no_pictures")
        _check_alone("as_predict", arguments, others)
        summary = evaluation.evaluate_product(
            opened,
            protocol=arguments.protocol,
            split=arguments.split,
            tta=arguments.tta is not None,
            out=out,
        )
        return summary, out
    summary = evaluation.evaluate_run(
        opened,
        protocol=arguments.protocol,
        split=arguments.split,
        tta=arguments.tta is not None,
        out=out,
        draw=not arguments.no_pictures,
        save_predictions=arguments.save_predictions,
        tune_threshold=arguments.tune_threshold,
    )
    return summary, out


def _default_folder(opened: runs.Run, arguments: argparse.Namespace) -> Path:
    """Returns a folder below the run's that nothing else has which is scored in another way."""
    data = opened.config.data
    builder = datasets.open_dataset(data)
    content = builder.info.metadata.get("source_digest", "")
    config = volume_options.without_scans(data.config)
    name = [data.name, config, Path(data.source).name, content[:8]]
    name += [scoring.chosen_split(opened, builder, arguments.split), arguments.protocol]
    name += [arguments.tta or "", "as_predict" * arguments.as_predict]
    name += ["by_class" * arguments.by_class, _changed(opened)]
    return opened.workdir / DEFAULT_FOLDER / "-".join(_word(word) for word in name if word)


def _changed(opened: runs.Run) -> str:
    """Returns a digest of what is set otherwise than in the run and changes its scores, if any."""
    own, used = map(configuration.to_json, (runs.read_config(opened.workdir), opened.config))
    changed = [
        name
        for name in configuration.differences(own, used, _IN_THE_NAME)
        if name.startswith(ranges.USED)
    ]
    values = dict(ranges.flat(opened.config))
    return _digest(repr([(name, values[name]) for name in changed])) if changed else ""


def _check_alone(option: str, arguments: argparse.Namespace, others: Sequence[str]) -> None:
    """Refuses options that mean nothing beside another."""
    for name in others:
        if getattr(arguments, name):
            given, other = map(options.spelled, (name, option))
            raise ValueError(f"--{given} does not go with --{other}")


def _word(text: str) -> str:
    """Returns a text as a part of a file's name, different ones differently."""
    safe = re.sub(r"[^\w.]+", "_", text)[:_LONGEST]
    return safe if safe == text else f"{safe}{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]
