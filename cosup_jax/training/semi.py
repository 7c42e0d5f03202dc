"""Semi-supervised training (Inf-Net, Section III-B and III-D), for any network of the package.

`experiments.trials.train_semi` takes four steps, each in a folder of its own:

1. `labelled`: the network is trained on the labelled slices (lines 1 and 2 of Algorithm 1).
2. `rounds`: K unlabelled slices at a time get labels from the present network and join the training
   set, on which it is trained on, until none is left (lines 3 to 8). The labels are in `pseudo`.
3. `pretrain`: a new network is trained on the pseudo-labelled slices alone.
4. The working folder itself: that network is trained on the labelled slices, and scored.

Steps 1, 3 and 4 are ordinary runs. A process that is killed goes on with the step, and of step 2
with the round, in which it was: the order of the slices depends on the seed alone, and a round
that is taken again from the checkpoint before it gives the same labels. More epochs than before
are refused once rounds have started: step 1 would get another best epoch than theirs.

What differs from the authors' release: a label is the probability over 0.5, where they keep the map
stretched to 0..1; and Adam's moments and the compiled step go through all rounds, where theirs
start anew in each.
"""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import ranges, runs
from cosup_jax.data import people, sampling, splits
from cosup_jax.runs import checkpoints
from cosup_jax.training import preview, provenance, pseudo, rounds, twins
from cosup_jax.training.setup import RunMismatch, devices_for, keep_description, make_setup

LABELLED, ROUNDS, PSEUDO, PRETRAIN = "labelled", "rounds", "pseudo", "pretrain"
# What only the third step depends on, so that the rounds are not lost where it has to be changed.
_OF_PRETRAINING = ("semi.pretrain_epochs", "semi.pretrain_batch_size")


def dry_run(config: ConfigDict) -> str:
    """Returns what `preview.dry_run` says, and what the four steps are.

    Raises:
      ValueError: a setting that means nothing, or slices that cannot be used as asked.
    """
    check(config)
    semi, builder = config.semi, open_unlabelled(config)
    labelled = builder.info.splits[config.data.train].num_examples
    unlabelled = pseudo.pool_size(builder, semi.unlabelled, semi.exclude_patients)
    exclude = f", without those of {', '.join(semi.exclude_patients)}"
    exclude *= bool(semi.exclude_patients)
    return "\n".join(
        [
            preview.dry_run(labelled_config(config), [semi.pretrain_batch_size]),
            "semi-supervised training, in four steps:",
            f"  1. {labelled} labelled slices, at most {config.epochs} epochs",
            f"  2. {rounds.describe(config, labelled, unlabelled)}{exclude}",
            f"  3. their pseudo labels alone, at most {semi.pretrain_epochs} epochs of batch "
            f"{semi.pretrain_batch_size}",
            f"  4. {labelled} labelled slices, at most {config.epochs} epochs",
        ]
    )


def check(config: ConfigDict) -> None:
    """Refuses settings of the section `semi` that mean nothing.

    Raises:
      ConfigError: naming the field.
    """
    ranges.check(config)
    semi = config.semi
    if config.model.get("classes", 1) > 1 or config.model.name == "guided":
        raise configuration.ConfigError(
            "--config.semi.per_round: pseudo labels do not tell classes apart; take a network of "
            "one class"
        )
    if config.data.crop:
        raise configuration.ConfigError(
            f"--config.data.crop={config.data.crop}: pseudo labels are given to whole slices; take "
            "--config.data.crop= with --config.semi.per_round above 0"
        )
    if config.data.lungs:
        raise configuration.ConfigError(
            "--config.data.lungs=True: pseudo labels are given to slices as they are; take "
            "--config.data.lungs=False with --config.semi.per_round above 0"
        )
    for name, least in (("per_round", 1), ("pretrain_epochs", 1), ("pretrain_batch_size", 1)):
        if semi[name] < least:
            raise configuration.ConfigError(
                f"--config.semi.{name}={semi[name]}: expected at least {least}"
            )
    if semi.epochs <= 0:
        raise configuration.ConfigError(
            f"--config.semi.epochs={semi.epochs}: expected a number above 0, such as 0.5"
        )
    for use in ("train", "validation", "test"):
        if semi.unlabelled == config.data[use]:
            raise configuration.ConfigError(
                f"--config.semi.unlabelled={semi.unlabelled}: that split is used for {use}"
            )


def open_unlabelled(config: ConfigDict) -> tfds.core.DatasetBuilder:
    """Builds the dataset where needed, so that a fault is told before anything is trained.

    Raises:
      ValueError: a step would refuse what it is given, as far as that can be told; the field is
        named.
    """
    builder = make_setup(config, Path()).builder
    semi = config.semi
    size = semi.pretrain_batch_size
    devices_for(config, size, "semi.pretrain_batch_size")
    pseudo.check_split(builder, semi.unlabelled, semi.exclude_patients)
    whose = people.people(builder, semi.unlabelled, semi.exclude_patients)
    for use, split in provenance.uses(config, builder).items():
        both = sorted(people.shared(whose, people.people(builder, split)))
        if use != "train" and both:
            raise splits.PatientOverlapError(
                f"--config.semi.unlabelled={semi.unlabelled}: holds slices of patients of "
                f"data.{use}: {', '.join(both[:5])}. Leave them out with "
                "--config.semi.exclude_patients"
            )
    # As the folder of labels, whose indexes name both, would be refused in the third step.
    spelled: dict[str, tuple[str, str]] = {}
    validated = people.people(builder, config.data.validation)
    for split, those in ((semi.unlabelled, whose), (config.data.validation, validated)):
        for patient in those["patients"]:
            splits.check_spelling(patient, f"the split {split}", spelled)
    try:
        people.check_split(builder, rounds_config(config).data.train)
    except people.SplitError as error:
        raise people.SplitError(
            f"--config.semi.unlabelled={semi.unlabelled}: the rounds train on it beside "
            f"data.train={config.data.train}, and {error}"
        ) from error
    cases = pseudo.pool_cases(builder, semi.unlabelled, semi.exclude_patients)
    groups = sampling.parse_groups(config.sampling.groups)
    sampling.check_cases(cases, semi.unlabelled, groups)
    count = config.sampling.slices or len(cases)
    if count < size:
        raise configuration.ConfigError(
            f"--config.semi.pretrain_batch_size={size}: an epoch of pre-training has {count} "
            f"slices of {semi.unlabelled}, fewer than a batch; give a smaller one"
        )
    settings = runs.preprocessing(config)
    twins.check(builder, semi.unlabelled, config.data.validation, settings, semi.exclude_patients)
    return builder


def check_epochs(config: ConfigDict, workdir: Path) -> None:
    """Refuses to train step 1 on where step 2 has started from its best epoch.

    Args:
      config: of the whole procedure.
      workdir: its folder.

    Raises:
      RunMismatch: it would be trained on, with more epochs than it had.
    """
    if not checkpoints.exist(workdir / ROUNDS):
        return
    last = checkpoints.last_progress(workdir / LABELLED)
    if last and last.epoch < config.epochs and not last.stopping.should_stop:
        raise RunMismatch(
            f"epochs is {config.epochs}, but the rounds in {workdir / ROUNDS} have started from "
            f"{last.epoch} epochs of the first step; give --config.epochs={last.epoch}, or another "
            "--workdir"
        )


def _changed(config: ConfigDict, **fields: Any) -> ConfigDict:
    copy = ConfigDict(config.to_dict())
    copy.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return copy


def labelled_config(config: ConfigDict) -> ConfigDict:
    """Returns the configuration of step 1."""
    return _changed(config, semi__per_round=0)


def pretrain_config(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Returns the configuration of step 3, which starts where step 1 did."""
    return _changed(
        config,
        semi__per_round=0,
        data__name="slice_folder",
        data__config="",
        data__source=str(workdir / PSEUDO),
        data__mask_values="0:0,255:1",
        data__train="train",
        data__validation="validation",
        data__test="test",
        epochs=config.semi.pretrain_epochs,
        batch_size=config.semi.pretrain_batch_size,
    )


def finetune_config(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Returns the configuration of step 4."""
    return _changed(config, init=str(workdir / PRETRAIN))


def rounds_config(config: ConfigDict) -> ConfigDict:
    """Returns the configuration of step 2, which trains on the unlabelled slices, too."""
    return _changed(config, data__train=f"{config.data.train}+{config.semi.unlabelled}")


def label_all(config: ConfigDict, workdir: Path) -> None:
    """Takes step 2, or what is left of it, and writes the folder `pseudo`.

    Args:
      config: of the whole procedure.
      workdir: its folder, with step 1 in `labelled`.
    """
    ready = make_setup(rounds_config(config), workdir / ROUNDS)
    keep_description(ready, _OF_PRETRAINING)
    pool = pseudo.open_pool(
        ready.builder,
        config.semi.unlabelled,
        runs.preprocessing(config),
        exclude=config.semi.exclude_patients,
        seed=config.seed,
    )
    folder = workdir / PSEUDO
    rows = rounds.label_all(
        ready,
        pool,
        ready.open(config.data.train),
        ready.open(config.data.validation),
        init=workdir / LABELLED,
        labels=folder / "train",
    )
    pseudo.write_validation(ready.builder, config.data.validation, folder, pool.settings)
    pseudo.write_index(folder / pseudo.INDEX, rows)
