"""What a run needs before its first step: dataset, network, mapped steps, its description."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import optax
import tensorflow_datasets as tfds
from flax import linen as nn
from ml_collections import ConfigDict

from cosup_jax import config as configuration
from cosup_jax import devices, files, losses, models, ranges, runs, volume_options, weights
from cosup_jax.data import augment, datasets, people, pipeline, sampling
from cosup_jax.data.preprocess import prepare_example
from cosup_jax.runs import checkpoints, interrupted, logs
from cosup_jax.runs.state import TrainState, count_parameters, create_state, make_optimizer
from cosup_jax.training import provenance, start
from cosup_jax.training.step import parallel_eval_step, parallel_train_step
from cosup_jax.weights import lung_network

# Fields that may change between a run and its continuation without changing what it computes.
# Where the files lie may change too: what they hold is compared by itself.
FREE_FIELDS = (
    *("epochs", "devices", "data.cache_gib", "data.data_dir", "data.source", "log.image_epochs"),
)
_MULTIPLE = 32  # of pixels, to which the sizes of multi-scale training are rounded


class RunMismatch(ValueError):
    """The working folder belongs to another configuration or other data."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything of a run that does not change while it trains; `notes` are for who reads it."""

    config: ConfigDict
    workdir: Path
    builder: tfds.core.DatasetBuilder
    notes: tuple[str, ...]
    model: nn.Module
    optimizer: optax.GradientTransformation
    devices: list[jax.Device]
    train_steps: Mapping[tuple[int, int], Callable]  # by the (height, width) they train at
    eval_step: Callable
    plateau: optax.GradientTransformationExtraArgs

    @property
    def train_step(self) -> Callable:
        """The step at the network's own size."""
        return self.train_steps[tuple(self.config.data.size)]

    def drawn_size(self, step: int) -> tuple[int, int]:
        """Returns the size at which a step trains (multi-scale training).

        The draw depends on the number of the step alone, so that several seeds take it at one size.
        """
        sizes = scaled_sizes(self.config)
        random = np.random.Generator(np.random.Philox(key=np.array([0, step], np.uint64)))
        return sizes[random.integers(len(sizes))]

    def open(self, split: str) -> grain.MapDataset:
        """Opens a split prepared for the network."""
        data, settings = self.config.data, runs.preprocessing(self.config)
        boxes = pipeline.find_boxes(self.builder, split, settings, data.crop)
        classes, find = models.count_classes(self.model), lung_network.find_in
        prepare = functools.partial(prepare_example, classes=classes, lungs=find)
        return pipeline.open_split(
            self.builder, split, settings, boxes=boxes, cache_gib=data.cache_gib, prepare=prepare
        )


def make_setup(config: ConfigDict, workdir: Path) -> Setup:
    """Builds the dataset where needed, the network, and the mapped steps.

    Raises:
      ValueError: a value of the configuration that means nothing; its field is named.
    """
    ranges.check_names(config)
    ranges.check(config)
    sampling.parse_groups(config.sampling.groups)
    data = config.data
    builder = datasets.make_builder(
        data.name,
        config=data.config,
        source=data.source,
        data_dir=data.data_dir,
        mask_values=data.mask_values,
    )
    chosen = devices_for(config, config.batch_size)
    model = runs.build_model(config, devices.AXIS)
    loss = _make_loss(config, model)
    datasets.prepare(builder, data.source)
    notes = people.check_uses(
        builder,
        provenance.uses(config, builder),
        provenance.trained_before(config.init),
        exclude=config.semi.exclude_patients if config.semi.per_round else (),
    )
    return Setup(
        config=config,
        workdir=workdir,
        builder=builder,
        notes=(*notes, *start.notes(config)),
        model=model,
        optimizer=make_optimizer(config.learning_rate, config.clip, **config.optimizer.to_dict()),
        devices=chosen,
        train_steps={
            size: parallel_train_step(
                loss, chosen, prepare=make_prepare(config, size), decay=config.averaging.decay
            )
            for size in {tuple(data.size), *scaled_sizes(config)}
        },
        eval_step=parallel_eval_step(loss, chosen),
        # Once per epoch, on the host: optax counts updates, and an epoch is one update here.
        plateau=optax.contrib.reduce_on_plateau(
            factor=config.plateau.factor, patience=config.plateau.patience
        ),
    )


def devices_for(config: ConfigDict, size: int, field: str = "batch_size") -> list[jax.Device]:
    """Returns the devices to train on with batches of `size`, the value of `field`.

    Raises:
      DeviceError: as `devices.choose_devices`; or partners, who are changed with each other, part.
    """
    chosen = devices.choose_devices(config.devices, size, field)
    share = size // len(chosen)
    if len(chosen) > 1 and share % 2 and (config.augment.match or config.augment.cutmix):
        raise devices.DeviceError(
            f"augment.match and augment.cutmix take slices two by two: {len(chosen)} devices have "
            f"{share} of {size} each; give a --config.{field} that makes it even, or fewer devices"
        )
    return chosen


def _make_loss(config: ConfigDict, model: nn.Module) -> Callable:
    settings = config.loss.to_dict()
    try:
        loss = losses.build(**settings)
        losses.check(settings, model.edge_stages, model.mask_stages, models.count_classes(model))
    except ValueError as error:
        raise configuration.ConfigError(f"loss.{error}") from error
    return loss


def with_seed(setup: Setup, seed: int, workdir: Path) -> Setup:
    """Returns the same with another seed and folder; nothing is built or compiled again."""
    ranges.check_field("seed", seed)
    config = setup.config.copy_and_resolve_references()
    config.seed = seed
    return dataclasses.replace(setup, config=config, workdir=workdir)


def scaled_sizes(config: ConfigDict) -> list[tuple[int, int]]:
    """Returns (height, width) at each of `data.scales`, rounded to multiples of 32.

    Raises:
      ValueError: no scale, or one that leaves nothing.
    """
    (height, width), scales = config.data.size, config.data.scales
    if not scales or min(scales) <= 0:
        raise ValueError(f"data.scales is {scales}, expected positive numbers such as (0.75, 1.0)")

    def scaled(side: int, scale: float) -> int:
        return side if scale == 1 else max(1, round(scale * side / _MULTIPLE)) * _MULTIPLE

    return [(scaled(height, scale), scaled(width, scale)) for scale in scales]


def make_prepare(config: ConfigDict, size: tuple[int, int]) -> Callable | None:
    """Returns what a training step does to its slices first; None where it takes them as they are.

    Args:
      config: the configuration.
      size: (height, width) at which the step trains.

    Raises:
      ValueError: a wrong setting of the augmentation.
    """
    settings = augment.Augmentation(**config.augment.to_dict())
    if size == tuple(config.data.size) and not settings.changes:
        return None
    return functools.partial(
        augment.augment, settings=settings, scaling=config.data.scaling, size=size
    )


def describe(setup: Setup, state: TrainState) -> str:
    """Returns what a run says first."""
    c = setup.config
    stages = getattr(setup.model, "edge_stages", ()), getattr(setup.model, "mask_stages", ())
    return "\n".join(
        [
            datasets.describe(setup.builder),
            *(f"  note: {note}" for note in setup.notes),
            f"network {c.model.name}: {count_parameters(state.params):,} parameters, "
            f"edges supervised at {', '.join(stages[0]) or 'none'}, "
            f"masks at {', '.join(stages[1]) or 'none'}, "
            f"fusion {getattr(setup.model, 'fusion', 'none')}",
            f"{c.data.size[0]}×{c.data.size[1]}, batch {c.batch_size} on {len(setup.devices)} "
            f"{setup.devices[0].device_kind} device(s); run folder {setup.workdir}",
        ]
    )


def check_config(config: ConfigDict, workdir: Path, free: Sequence[str] = ()) -> bool:
    """Tells whether a folder holds a started run, which must be of this configuration.

    Args:
      config: what is to be run there.
      workdir: the folder.
      free: fields that change nothing of this run, beside `FREE_FIELDS`.

    Raises:
      RunMismatch: naming the fields that differ.
    """
    path = workdir / runs.CONFIG
    # A run that failed before its first checkpoint may be started again with other settings.
    if not path.exists() or not (checkpoints.exist(workdir) or interrupted.exists(workdir)):
        return False
    files.read_json(path)  # which names it where it is damaged
    # Where no slices are labelled, the rest of `semi` says nothing.
    idle = [f"semi.{name}" for name in config.semi if name != "per_round"]
    free = (*FREE_FIELDS, *free, *([] if config.semi.per_round else idle))
    here = configuration.to_json(_found_from_anywhere(config))
    if differing := configuration.differences(path.read_text(), here, free):
        raise RunMismatch(
            f"{workdir} holds a run of another configuration (differing in "
            f"{', '.join(differing)}); give another --workdir, or remove the folder"
        )
    return True


def keep_description(setup: Setup, free: Sequence[str] = ()) -> None:
    """Writes configuration, versions and data fingerprint, or checks them against a started run.

    Args:
      setup: of the run.
      free: as of `check_config`.

    Raises:
      RunMismatch: naming the fields that differ.
    """
    setup.workdir.mkdir(parents=True, exist_ok=True)
    config_path, data_path = setup.workdir / runs.CONFIG, setup.workdir / runs.DATA
    config_json = configuration.to_json(_found_from_anywhere(setup.config))
    used = [setup.config.data.train, setup.config.data.validation]
    whose: dict[str, Any] = {}
    if check_config(setup.config, setup.workdir, free) and data_path.exists():
        kept = runs.read_data(setup.workdir)
        if not provenance.is_same(kept, setup.builder, used):
            raise RunMismatch(
                f"{setup.workdir} holds a run on other data ({data_path}); give another --workdir"
            )
        # The run that this one started from may have gone, and its people with it.
        whose = {name: kept[name] for name in runs.PEOPLE if name in kept}
    data = {
        "dataset": setup.builder.info.full_name,
        "fingerprint": datasets.fingerprint(setup.builder, used),
        "splits": used,
        **(whose or provenance.whose(setup.config, setup.builder)),
    }
    files.write_json(data_path, data)
    files.write_json(setup.workdir / "versions.json", logs.versions(setup.devices))
    files.write_text(config_path, config_json + "\n")


def _found_from_anywhere(config: ConfigDict) -> ConfigDict:
    """Returns a configuration whose data, and what it starts from, are found from anywhere."""
    kept = config.copy_and_resolve_references()
    for name in ("source", "data_dir"):
        kept.data[name] = kept.data[name] and _absolute(kept.data[name])
    kept.data.config = volume_options.from_anywhere(kept.data.config)
    if kept.init and kept.init not in weights.names() and Path(kept.init).expanduser().exists():
        kept.init = _absolute(kept.init)
    return kept


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def make_state(setup: Setup) -> TrainState:
    """Returns the state at step 0."""
    c = setup.config
    return create_state(
        setup.model,
        setup.optimizer,
        size=tuple(c.data.size),
        seed=c.seed,
        average=c.averaging.decay > 0,
    )
