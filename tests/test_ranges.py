"""Every field of a configuration has a range, and a value outside of it is named."""

import functools
import re
from pathlib import Path

import pytest

from cosup_jax import config as configuration
from cosup_jax import models, ranges, runs
from cosup_jax.config import ConfigError
from cosup_jax.training import setup
from tests.phantoms import tiny_config

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(p.stem for p in CONFIGS.glob("*.py") if p.stem not in ("__init__", "base"))
NAN = float("nan")
WRONG = {
    "seed": (-1, 2**64, 1.0, True, "0"),
    "epochs": (0, -3, 1.5),
    "batch_size": (0, -4, 10**6, 8.0),
    "devices": (-1, 0.5),
    "init": (3,),
    "data.name": ("", None),
    "data.mask_values": ("", 3),
    "data.train": ("", " "),
    "data.size": (32, (32,), (32, 32, 1), (-32, 32), (0, 0), (32.0, 32.0), (10**4, 32), "32"),
    "data.window": ((-600.0, 0.0), (-600.0, -1.0), (NAN, 1.0), (1.0,), 5, (float("inf"), 1.0)),
    "data.scaling": ("minmax", ""),
    "data.scales": ((), (0.0,), (-1.0, 1.0), (NAN,), 1.0, (100.0,)),
    "data.cache_gib": (-1, NAN, float("inf")),
    "augment.probability": (2, -0.1, NAN),
    "augment.rotation": (NAN, float("inf"), -1.0, "5"),
    "loss.theta": (-0.1, NAN, "x"),
    "loss.zeta": (-1.0, (1.0, -1.0), ()),
    "loss.reduction": ("foo",),
    "learning_rate": (-1e-3, 0.0, NAN, float("inf")),
    "optimizer.name": ("rmsprop",),
    "optimizer.momentum": (1.0, -0.1),
    "clip": (-0.5, NAN),
    "step_decay.factor": (0.0, 1.5),
    "step_decay.epochs": (-1, 2.5),
    "plateau.factor": (0.0, 1.0, 2.0),
    "plateau.patience": (0, -1),
    "early_stopping.patience": (0, -1, 2.5),
    "averaging.decay": (1.0, -0.5),
    "semi.per_round": (-1, 2.5),
    "semi.epochs": (0.0, -1.0, NAN),
    "semi.exclude_patients": ("p1", (1,)),
    "log.image_epochs": (0, -5),
    "data.data_dir": ("n" * 300, "a/\0"),
    "model.width": (0, -1, 4.0, 10**5),
    "model.blocks": ((0, 1, 1, 1), (10**5, 1, 1, 1), 3, (1.5,)),
    "model.dtype": ("float99", "int32", "float64", 3),
    "model.edge_levels": (("x", 1), (0,), 1),
    "model.classes": (0, 99),
}


@pytest.mark.parametrize("name", ["data.mask_value", "data.sizes", "seeds", "augment.flip"])
def test_a_field_that_nothing_reads_is_refused_with_the_nearest(tmp_path, name):
    config = tiny_config(tmp_path)
    group, _, field = name.rpartition(".")
    (config[group] if group else config)[field] = 1
    with pytest.raises(ConfigError, match=f"field {name}, which nothing reads; .*nearest is"):
        ranges.check_names(config)


@pytest.mark.parametrize("name", FILES)
def test_every_configuration_has_all_fields_and_no_other(name):
    ranges.check_names(configuration.load(str(CONFIGS / f"{name}.py")))


def test_a_field_that_is_missing_is_named(tmp_path):
    config = tiny_config(tmp_path)
    del config.semi
    with pytest.raises(ConfigError, match=r"no field semi\.per_round .*base\.get_config"):
        ranges.check_names(config)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_a_value_that_means_nothing_is_refused_by_name(name, value):
    said = f"^{re.escape(name)} is .*, expected "
    with pytest.raises(ConfigError, match=said):
        ranges.check_field(name, value)


ANY = (
    *(-1, 0, 2, 7, 2**70, -0.5, 0.5, 1.5, NAN, float("inf"), -float("inf"), True, None, "", " "),
    *("x", "a\0b", (), (1,), (1, 2), (1, 2, 3), (NAN, 1.0), ("x",), (-1, -1), [1], {}, b"x"),
)


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_outside_of_the_range_of_its_field_is_refused_by_name(name):
    config = configuration.load(str(CONFIGS / f"{name}.py")).to_dict()
    refused = 0
    for field, right in ranges.flat(config):
        *groups, last = field.split(".")
        group = functools.reduce(dict.__getitem__, groups, config)
        for wrong in ANY:
            if not ranges.range_of(field).holds(wrong):
                group[last], refused = wrong, refused + 1
                said = f"{field} is {wrong!r}, expected {ranges.range_of(field).words}"
                with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
                    ranges.check(config)
        group[last] = right
    assert refused > 1000


# Within the range of the field, and yet nothing that the other fields or the dataset allow.
UNFIT = {
    "data.size": ((30, 30), (1, 1)),
    "data.name": ("lung_phantm",),
    "data.config": ("huge",),
    "data.mask_values": ("0", "0:0,255:1,255:0"),
    "data.source": ("here",),
    "data.train": ("trian", "train[", "test[:0%]"),
    "data.validation": ("-1",),
    "data.test": ("tset",),
    "sampling.groups": (("x",), (("", "some", 1.0),), (("", "all", -1.0),), (("", "all", NAN),)),
    "model.name": ("resnet",),
    "model.blocks": ((), (1, 1)),
    "model.edge_levels": ((1, 1),),
    "model.fusion": ("product",),
    "loss.name": ("dice", "multiclass_joint"),
    "batch_size": (3,),
    "devices": (999,),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in UNFIT.items() for v in vs])
def test_a_value_that_does_not_fit_the_others_is_refused_by_name(name, value, tiny_run):
    config = tiny_config(tiny_run.parent / "tfds", devices=2)
    config.update_from_flattened_dict({name: value})
    with pytest.raises(ValueError, match=re.escape(name)) as told:
        setup.make_setup(config, Path())
    assert type(told.value).__module__.startswith(("cosup_jax", "builtins"))


def test_weights_for_another_number_of_heads_are_refused_by_name(tiny_run):
    config = tiny_config(tiny_run.parent / "tfds")
    for name in ("zeta", "omega"):
        config.loss = {"name": "joint", name: (1.0,) * 7}
        with pytest.raises(ConfigError, match=rf"^loss\.{name} is \(1.0, .* such heads"):
            setup.make_setup(config, Path())


def test_the_parts_of_a_network_are_named_too():
    for changes, said in (
        ({"model.guide.backbone": "vgg"}, r"^model\.guide\.backbone is 'vgg', expected one of"),
        ({"model.labeller.name": "vgg"}, r"^model\.labeller\.name is 'vgg', expected one of"),
        (
            {"model.guide_size": (32, 32), "data.size": (48, 40)},
            r"^data\.size is \(48, 40\)",
        ),
    ):
        config = configuration.load(f"{CONFIGS}/multiclass.py:net=fcn8s")
        config.update_from_flattened_dict(changes)
        with pytest.raises(ConfigError, match=said):
            runs.build_model(config)


@pytest.mark.parametrize("name", FILES)
def test_every_field_of_every_configuration_has_a_range_and_is_within(name):
    config = configuration.load(str(CONFIGS / f"{name}.py"))
    ranges.check(config)
    for field in configuration.field_names(config):
        value = config
        for part in field.split("."):
            value = value[part]
        if not hasattr(value, "keys"):
            known = ranges.MODEL if field.startswith("model.") else ranges.FIELDS
            assert (field.rpartition(".")[2] if known is ranges.MODEL else field) in known


def test_an_infinite_or_missing_value_of_the_command_line_is_refused(tiny_run):
    for text, said in (
        ("--config.batch_size=0", "batch_size is 0, expected a whole number from 1"),
        ("--config.data.size=(33.0,33.0)", "data.size is"),
        ("--config.model.width=8", "the network of a finished run is the one that was trained"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            runs.open_run(tiny_run, [text])


def test_an_old_run_opens_whatever_it_was_trained_with(tiny_run, tmp_path):
    config = runs.read_config(tiny_run)
    config.plateau.patience, config.data.cache_gib = 0, -1.0
    (tmp_path / runs.CONFIG).write_text(configuration.to_json(config))
    assert runs.read_config(tmp_path).plateau.patience == 0
    config.model.blocks = (1, "x")
    (tmp_path / runs.CONFIG).write_text(configuration.to_json(config))
    with pytest.raises(ConfigError, match=r"config\.json: model\.blocks is .*expected whole"):
        runs.read_config(tmp_path)


def test_a_run_goes_on_with_the_same_meaning_in_other_words(tmp_path):
    config = configuration.load(str(CONFIGS / "c2f.py"))
    config.data.source, config.init = str(tmp_path), str(tmp_path / "run")
    config.data.mask_values = "0:0,255:1"
    first = configuration.to_json(config)
    (tmp_path / "link").symlink_to(tmp_path)
    config.data.source, config.init = f"{tmp_path}/", str(tmp_path / "link" / "run")
    config.data.mask_values = "255:1, 0:0"
    config.data.config = f"scans={tmp_path}, fold=0"
    assert configuration.differences(first, configuration.to_json(config)) == []
    config.data.mask_values, config.data.source = "0:0,1:1", str(tmp_path / "other")
    config.data.config = "scans=a,test=no"
    assert configuration.differences(first, configuration.to_json(config)) == [
        "data.config",
        "data.mask_values",
        "data.source",
    ]


def test_every_network_is_built_of_settings_within_the_ranges():
    for name in models.available():
        if name != "guided":
            model = models.build(name)
            assert all(
                ranges.MODEL[field].holds(value)
                for field in ranges.MODEL
                if isinstance(value := getattr(model, field, None), int | tuple | str)
                and field not in ("name", "dtype")
            )
