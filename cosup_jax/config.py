"""The one grammar of configuration arguments, and overrides checked with a helpful error.

A configuration file may take an argument after a colon, always of the form
`name=value[,name=value]`: `--config=configs/ablation.py:row=esm+assm,data=slice_folder`.
"""

import ast
import difflib
import functools
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import ml_collections

from cosup_jax import config_files, options, volume_options

# Of `augment`, all but its probability.
_CHANGES = (
    *("blur", "brightness", "contrast", "cutmix", "curve", "elastic"),
    *("equalise", "flip_horizontal", "flip_vertical", "gamma", "match", "noise"),
    *("rotation", "scale", "shift", "stretch", "window"),
)
# Fields that were born after the first runs, each with the value, as JSON has it, at which a run
# does what it did without the field. A run that was made before is read as if it had them.
_LATER: Mapping[str, Any] = {
    **{f"augment.{name}": 0.0 for name in _CHANGES},
    "augment.probability": 1.0,
    "averaging.decay": 0.0,
    "clip": 0.0,
    "data.crop": "",
    "data.lungs": False,
    "data.scales": [1.0],
    "data.scaling": "z_score",
    "loss.name": "joint",
    "optimizer.momentum": 0.0,
    "optimizer.name": "adam",
    "optimizer.weight_decay": 0.0,
    "sampling.groups": [],
    "sampling.slices": 0,
    "semi.epochs": 1.0,
    "semi.exclude_patients": [],
    "semi.per_round": 0,
    "semi.pretrain_batch_size": 24,
    "semi.pretrain_epochs": 100,
    "semi.unlabelled": "unlabelled",
    "step_decay.epochs": 0,
    "step_decay.factor": 0.1,
}
# What is said of one dataset and of no other, as configs/base.py has it.
_OF_A_DATASET = {"config": "", "source": "", "mask_values": "0:0,255:1"}
# One number for all heads of a network, or one for each: the only fields that have two types.
OF_HEADS = ("loss.zeta", "loss.omega")
_PATHS = ("data.data_dir", "data.source", "init")
# Likewise, of the section `model` of one network.
_LATER_OF_NETWORK: Mapping[str, Mapping[str, Any]] = {"cosup": {"model.classes": 1}}


class ConfigError(ValueError):
    """A configuration argument or override that means nothing; the message lists what would."""


def parse_arguments(text: str | None, valid: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Parses `name=value[,name=value]`; what is not given takes its first valid value.

    Args:
      text: what stood behind the colon, or None.
      valid: the names, each with its values, the default first.

    Raises:
      ConfigError: an unknown name or value, or a name given twice; the message lists the valid.

    >>> parse_arguments("fusion=sum", {"fusion": ("attention", "sum"), "data": ("a", "b")})
    {'fusion': 'sum', 'data': 'a'}
    """
    given: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in valid:
            raise ConfigError(
                f"configuration argument {part!r}: expected name=value with name one of "
                f"{', '.join(valid)}"
            )
        if name in given:
            raise ConfigError(f"configuration argument {name!r} is given twice")
        if value not in valid[name]:
            near = difflib.get_close_matches(value, valid[name], n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(
                f"configuration argument {name}={value!r}{hint}: expected one of "
                f"{', '.join(valid[name])}"
            )
        given[name] = value
    return {name: given.get(name, values[0]) for name, values in valid.items()}


def load(spec: str) -> ml_collections.ConfigDict:
    """Loads a configuration: `c2f`, `path.py`, either with `:arguments` behind it.

    Raises:
      ConfigError: there is no such file, or its `get_config` gives no configuration.
    """
    try:
        path, argument = config_files.find(spec)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    module_spec = importlib.util.spec_from_file_location("cosup_config", path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"'{path}' is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        with config_files.importable(path):
            module_spec.loader.exec_module(module)
            if not hasattr(module, "get_config"):
                raise ConfigError(f"'{path}' defines no get_config; it is not a configuration file")
            config = module.get_config(*([argument] if argument else []))
    except ConfigError:
        raise
    except Exception as error:  # whatever a configuration of one's own may do
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"'{path}' cannot be read: {why}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(
            f"'{path}': its get_config returns a {type(config).__name__}; expected it to return "
            "what configs.base.get_config() does, with other values"
        )
    return config


def field_names(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns the dotted names of all fields, groups included."""
    names = []
    for name in config:
        names.append(prefix + name)
        if isinstance(config[name], Mapping | ml_collections.ConfigDict):
            names += field_names(config[name], f"{prefix}{name}.")
    return names


def check_overrides(config: ml_collections.ConfigDict, argv: Sequence[str]) -> None:
    """Checks the names of all `--config.x=…` of a command line.

    Raises:
      ConfigError: one that is no field, with the nearest that is, or that of a group.
    """
    known = field_names(config)
    for argument in argv:
        stem = argument.lstrip("-")
        if not argument.startswith("-") or not stem.startswith("config."):
            continue
        name = stem[len("config.") :].partition("=")[0]
        if name not in known:
            hint = options.nearest(name, known, "--config.")
            raise ConfigError(f"there is no field --config.{name}{hint}")
        if inside := [field for field in known if field.startswith(f"{name}.")]:
            raise ConfigError(
                f"--config.{name} is a group of fields; set each by itself, such as "
                f"--config.{inside[0]}"
            )


def override(config: ml_collections.ConfigDict, arguments: Sequence[str]) -> None:
    """Sets fields as the command line of train.py does, each argument being `--config.name=value`.

    With another dataset (`data.name`), its folder, configuration and mask values are those given
    with it, and not those of the dataset before.

    Raises:
      ConfigError: a name that is no field, with the nearest one, or a value of another type.
    """
    check_overrides(config, arguments)
    given = [
        argument.lstrip("-").partition("=")[0].removeprefix("config.") for argument in arguments
    ]
    dataset = config.data.name if "data.name" in given else ""
    for argument in arguments:
        name, _, text = argument.lstrip("-").removeprefix("config.").partition("=")
        *groups, field = name.split(".")
        old = functools.reduce(getattr, groups, config)[field]
        try:
            value = text if isinstance(old, str | NoneType) else ast.literal_eval(text)
            if isinstance(value, bool) and not isinstance(old, bool):
                raise TypeError("which Python takes for the number 0 or 1")
            if name in OF_HEADS:
                many = isinstance(value, tuple | list)
                value = tuple(map(float, value)) if many else float(value)
                with config.ignore_type():
                    config[groups[0]][field] = value
            else:
                config.update_from_flattened_dict({name: value})
        except (SyntaxError, TypeError, ValueError) as error:
            raise ConfigError(f"{argument}: expected a value like {old!r}") from error
    if dataset and config.data.name != dataset:
        for field, value in _OF_A_DATASET.items():
            if f"data.{field}" not in given:
                config.data[field] = value


def from_json(text: str) -> ml_collections.ConfigDict:
    """Returns the configuration of a run from its config.json; lists become the tuples they were.

    Fields that were born after the run was made take the value that leaves it as it was.

    Raises:
      ConfigError: not a JSON object, or a group of fields is none.
    """
    fields = _read(text)
    try:
        return ml_collections.ConfigDict(with_tuples(fields))
    except (ValueError, TypeError, RecursionError) as error:  # names that are none, endless lists
        raise ConfigError(f"not the configuration of a run: {error}") from error


def _read(text: str) -> dict[str, Any]:
    """Returns the fields of a config.json, with those that were born later."""
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"not the configuration of a run: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError("not the configuration of a run: expected a JSON object")
    network = _group(fields, "model").get("name")
    for name, value in {**_LATER, **_LATER_OF_NETWORK.get(str(network), {})}.items():
        group, _, field = name.rpartition(".")
        _group(fields, group).setdefault(field, value)
    return fields


def _group(fields: dict[str, Any], name: str) -> dict[str, Any]:
    group = fields.setdefault(name, {}) if name else fields
    if not isinstance(group, dict):
        raise ConfigError(
            f"not the configuration of a run: {name} is {group!r}, expected a group of fields"
        )
    return group


def with_tuples(value: Any) -> Any:
    """Makes tuples again of what JSON has as lists, at any depth."""
    if isinstance(value, dict):
        return {name: with_tuples(entry) for name, entry in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def to_json(config: ml_collections.ConfigDict) -> str:
    """Returns the whole configuration as indented JSON, as it is kept in a run's folder."""
    return config.to_json_best_effort(indent=2, sort_keys=True)


def differences(first: str, second: str, ignoring: Sequence[str] = ()) -> list[str]:
    """Returns the dotted names in which two JSON configurations differ, some fields left out.

    One that is older than a field counts as having it at the value that leaves a run as it was.
    Fields are compared by what they mean: a path by the place it leads to, values and classes of a
    mask in any order, and options of a dataset in any words, wherever its scans lie.

    Raises:
      ConfigError: one of them is not a JSON object, or a group of fields is none.
    """
    flat_first, flat_second = _flatten(_read(first)), _flatten(_read(second))
    return sorted(
        name
        for name in flat_first.keys() | flat_second.keys()
        if _meaning(name, flat_first.get(name)) != _meaning(name, flat_second.get(name))
        and name not in ignoring
    )


def _meaning(name: str, value: Any) -> Any:
    if name in _PATHS and isinstance(value, str) and value:
        return os.path.realpath(os.path.expanduser(value))
    if name == "data.config" and isinstance(value, str):
        return volume_options.meaning(value)
    if name == "data.mask_values" and isinstance(value, str):
        return sorted("".join(value.split()).split(","))
    return value


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
