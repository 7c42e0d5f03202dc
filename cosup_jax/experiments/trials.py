"""A run from its first step to its scores: trained, then evaluated at its best epoch."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cosup_jax import evaluation, hosts, models, runs
from cosup_jax.runs import checkpoints
from cosup_jax.training import loop, semi
from cosup_jax.training.setup import check_config

FOLDER = "evaluation"


def train_and_evaluate(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Trains, or goes on training, and evaluates the best epoch on the test split.

    Args:
      config: see configs/base.py.
      workdir: the run's folder; a run started again in it goes on where it was.

    Returns:
      The summary of the evaluation, as in summary.json.

    Raises:
      ValueError: as `loop.train_seeds`; the message says what to do.
    """
    return train_seeds(config, [config.seed], [workdir])[0]


def train_seeds(
    config: ConfigDict, seeds: Sequence[int], workdirs: Sequence[str | Path]
) -> list[dict[str, Any]]:
    """Trains several seeds by `loop.train_seeds`, and returns the summary of each's evaluation.

    Raises:
      ValueError: as `loop.train_seeds`; where some seeds have diverged, the others are evaluated.
    """
    failure = None
    with contextlib.ExitStack() as owned:
        try:
            setups = loop.train_seeds(config, seeds, workdirs)
        except loop.TrainingDiverged as error:
            setups, failure = list(error.finished), error
        for setup in setups:
            owned.enter_context(runs.own(setup.workdir))
        found = [final_evaluation(setup.workdir, setup.config) for setup in setups]
    if failure:
        raise failure
    return found


def train_semi(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """Takes the four steps of `training.semi`, or what is left of them.

    Args:
      config: see configs/base.py; its section `semi` has what is said of rounds and pre-training.
      workdir: the folder of all; in the end that of the fine-tuned run.

    Returns:
      The summary of the evaluation on the test split.

    Raises:
      ValueError: as `train_and_evaluate`, or the unlabelled slices cannot be used as asked.
    """
    semi.check(config)
    folder = Path(workdir).expanduser()
    semi.open_unlabelled(config)
    with runs.own(folder):
        # So that the third step takes no setting with which the fourth, if begun, cannot go on.
        check_config(semi.finetune_config(config, folder), folder)
        semi.check_epochs(config, folder)
        return _four_steps(config, folder)


def _four_steps(config: ConfigDict, folder: Path) -> dict[str, Any]:
    print(f"step 1 of 4: training on the labelled slices, in {folder / semi.LABELLED}")
    train_and_evaluate(semi.labelled_config(config), folder / semi.LABELLED)
    print(f"step 2 of 4: labelling the split {config.semi.unlabelled}, in {folder / semi.ROUNDS}")
    semi.label_all(config, folder)
    print(f"step 3 of 4: pre-training on the pseudo-labelled slices, in {folder / semi.PRETRAIN}")
    train_and_evaluate(semi.pretrain_config(config, folder), folder / semi.PRETRAIN)
    print(f"step 4 of 4: fine-tuning on the labelled slices, in {folder}")
    return train_and_evaluate(semi.finetune_config(config, folder), folder)


def final_evaluation(workdir: Path, config: ConfigDict) -> dict[str, Any]:
    """Scores the best epoch on the test split, opened here for the first time.

    A network that tells classes apart is also scored class by class, in folders of their names.

    Returns:
      The summary, also written to evaluation/summary.json beside the tables and pictures.
    """
    variables, epoch, note = checkpoints.find_best(workdir)
    model = runs.build_model(config)
    run = runs.Run(workdir, config, model, variables, epoch, note)
    folder = workdir / FOLDER
    summary = evaluation.evaluate_run(run, protocol="cosup", out=folder)
    print(f"best epoch {epoch}\n{evaluation.table(summary)}")
    if hosts.is_first() and models.count_classes(model) > 1:
        by_class = evaluation.evaluate_classes(run, protocol="cosup", out=folder)
        for name, found in by_class.items():
            print(f"{name}: {evaluation.table(found)}")
    print(f"written to {folder}")
    return summary
