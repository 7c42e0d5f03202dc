"""The argument grammar, the check of overrides, and every file in configs/."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import baseline
from cosup_jax import config as configuration
from cosup_jax import losses, models, ranges
from cosup_jax.data.augment import Augmentation

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(p.name for p in CONFIGS.glob("*.py") if p.name not in ("__init__.py", "base.py"))
# All fields of the first runs there were. One that is added to configs/base.py is not added here:
# it gets a value in cosup_jax/config.py at which these runs do what they did.
OF_THE_FIRST_RUNS = {
    *("seed", "epochs", "batch_size", "devices", "init", "learning_rate", "log.image_epochs"),
    *("data.name", "data.config", "data.source", "data.data_dir", "data.mask_values"),
    *("data.train", "data.validation", "data.test", "data.size", "data.window", "data.cache_gib"),
    *("model.name", "model.width", "model.blocks", "model.edge_levels", "model.mask_levels"),
    *("model.decoder_edge_levels", "model.decoder_mask_levels", "model.fusion", "model.dtype"),
    *("loss.theta", "loss.beta", "loss.zeta", "loss.omega", "loss.reduction", "loss.eps"),
    *("plateau.factor", "plateau.patience", "early_stopping.patience"),
}
VALID = {"row": ("baseline", "esm", "esm+assm"), "data": ("lung_phantom", "slice_folder")}


def load(name):
    return configuration.load(str(CONFIGS / name))


def as_of_the_first_runs(config):
    """The JSON of a configuration without the fields that were born later."""

    def kept(fields, prefix=""):
        return {
            name: kept(value, f"{name}.") if isinstance(value, dict) else value
            for name, value in fields.items()
            if isinstance(value, dict) or prefix + name in OF_THE_FIRST_RUNS
        }

    fields = kept(json.loads(configuration.to_json(config)))
    return json.dumps({name: value for name, value in fields.items() if value != {}})


def test_arguments_take_their_defaults_and_what_is_given():
    assert configuration.parse_arguments("", VALID) == {"row": "baseline", "data": "lung_phantom"}
    assert configuration.parse_arguments(None, VALID)["row"] == "baseline"
    given = configuration.parse_arguments("data=slice_folder, row=esm+assm", VALID)
    assert given == {"row": "esm+assm", "data": "slice_folder"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rw=esm", "name one of row, data"),
        ("esm", "expected name=value"),
        ("row=esm+asm", "did you mean 'esm\\+assm'.*baseline, esm, esm\\+assm"),
        ("row=esm,row=esm", "given twice"),
        ("data=", "expected one of lung_phantom, slice_folder"),
    ],
)
def test_wrong_arguments_list_what_is_valid(text, says):
    with pytest.raises(configuration.ConfigError, match=says):
        configuration.parse_arguments(text, VALID)


def test_a_mistyped_override_names_the_nearest_field():
    config = load("c2f.py")
    configuration.check_overrides(config, ["--config.model.width=8", "--config.init=x", "--other"])
    for wrong, near in (
        ("--config.modl.width=8", "model.width"),
        ("--config.lerning_rate=1", "learning_rate"),
        ("-config.data.sorce", "data.source"),
    ):
        with pytest.raises(configuration.ConfigError, match=f"nearest is --config.{near}"):
            configuration.check_overrides(config, [wrong])


def test_a_factor_of_the_heads_is_one_number_or_one_for_each():
    config = load("c2f.py")
    configuration.override(config.lock(), ["--config.loss.zeta=(1, 0.5)"])
    assert config.loss.zeta == (1.0, 0.5)
    configuration.override(config, ["--config.loss.zeta=2", "--config.loss.omega=[1, 0, 1]"])
    assert (config.loss.zeta, config.loss.omega) == (2.0, (1.0, 0.0, 1.0))
    for wrong in ("much", "('1', 'x')", "((1, 2), 3)", "{}"):
        with pytest.raises(configuration.ConfigError, match=r"zeta=.*: expected a value like"):
            configuration.override(config, [f"--config.loss.zeta={wrong}"])


@pytest.mark.parametrize("wrong", ["model=3", "model={'width': 3}", "data=slice_folder"])
def test_a_group_is_not_set_as_a_whole(wrong):
    config = load("c2f.py")
    before = config.to_dict()
    group = wrong.partition("=")[0]
    with pytest.raises(configuration.ConfigError, match=rf"{group} is a group.* --config.{group}."):
        configuration.override(config, [f"--config.{wrong}"])
    assert config.to_dict() == before


@pytest.mark.parametrize("field", ["learning_rate", "epochs", "loss.zeta", "clip"])
def test_true_is_no_number(field):
    config = load("c2f.py")
    with pytest.raises(configuration.ConfigError, match=f"{field}=True: expected a value like"):
        configuration.override(config, [f"--config.{field}=True"])


def test_a_missing_file_and_one_that_is_no_configuration_are_named(tmp_path):
    with pytest.raises(configuration.ConfigError, match=r"no configuration file 'nowhere\.py'"):
        configuration.load("nowhere.py:row=esm")
    (tmp_path / "other.py").write_text("x = 1\n")
    with pytest.raises(configuration.ConfigError, match="defines no get_config"):
        configuration.load(str(tmp_path / "other.py"))


def test_differences_name_the_fields():
    first, second = load("c2f.py"), load("c3f.py")
    second.epochs = 7
    found = configuration.differences(
        configuration.to_json(first), configuration.to_json(second), ignoring=("epochs",)
    )
    assert found == ["model.edge_levels", "model.mask_levels"]


def test_a_run_made_before_a_field_was_born_has_it_at_the_value_that_changes_nothing():
    today = load("c2f.py")
    old = as_of_the_first_runs(today)
    assert configuration.differences(old, configuration.to_json(today)) == []
    read = configuration.from_json(old)
    assert set(configuration.field_names(read)) == set(configuration.field_names(today)), (
        "a field of configs/base.py is in no run made before it: give the value at which such a "
        "run does what it did, in cosup_jax/config.py"
    )
    assert read.to_dict() == today.to_dict()
    other = configuration.to_json(load("c2f_augmented.py"))
    changed = configuration.differences(old, other)
    assert "augment.rotation" in changed
    assert {name.partition(".")[0] for name in changed} == {"augment", "averaging"}


def test_a_network_gets_no_field_that_it_never_had():
    unet = load("baseline.py:net=unet")
    assert configuration.from_json(as_of_the_first_runs(unet)).model == unet.model


def test_what_a_configuration_has_stays_and_a_group_that_is_none_is_named():
    kept = configuration.from_json('{"data": {"scaling": "unit"}, "clip": 0.5}')
    assert (kept.data.scaling, kept.data.scales, kept.clip) == ("unit", (1.0,), 0.5)
    for text in ('{"data": 5}', '{"model": ["cosup"]}'):
        with pytest.raises(configuration.ConfigError, match="expected a group of fields"):
            configuration.from_json(text)


@functools.cache
def shape_of_loss(model, loss, size):
    """The shape of a training loss; several configurations have the same, and share the trace."""
    compute = losses.build(**dict(loss))
    image = jax.ShapeDtypeStruct((2, *size, 1), "float32")
    target = jax.ShapeDtypeStruct((2, *size, 1), "uint8")

    def of(image, target):
        output, _ = model.init_with_output(jax.random.key(0), image, train=True)
        return compute(output, target, target)[0]

    return jax.eval_shape(of, image, target).shape


@pytest.mark.parametrize("name", FILES)
def test_every_configuration_builds_its_network_and_takes_every_dataset(name):
    for data in ("lung_phantom", "slice_folder", "covid_semiseg"):
        config = load(f"{name}:data={data}")
        assert config.data.name == data
    config = load(name)
    assert config.data.name == "lung_phantom"
    config.lock()
    assert f"--config=configs/{name}" in (CONFIGS / name).read_text()
    model, loss = models.build(**config.model.to_dict()), tuple(config.loss.to_dict().items())
    assert shape_of_loss(model, loss, tuple(config.data.size)) == ()


def test_ablation_rows_switch_modules_on_and_off():
    rows = {
        "baseline": ((), (), (), (), "none"),
        "esm": ((1, 2), (), (), (), "none"),
        "esm+assm+afm": ((1, 2), (3, 4, 5), (), (), "attention"),
        "esm+esm*+afm": ((1, 2), (), (1, 2), (), "attention"),
        "assm*": ((), (), (), (3, 4, 5), "none"),
    }
    for row, expected in rows.items():
        m = load(f"ablation.py:row={row}").model
        found = (m.edge_levels, m.mask_levels, m.decoder_edge_levels, m.decoder_mask_levels)
        assert (*found, m.fusion) == expected


@pytest.mark.parametrize("net", baseline.NETS)
def test_a_baseline_holds_the_settings_of_its_network_at_their_defaults(net):
    config = load(f"baseline.py:net={net},data=slice_folder")
    settings = config.model.to_dict()
    assert config.data.name == "slice_folder"
    assert models.build(**settings) == models.build(net, dtype="float32")
    assert "fusion" not in settings
    assert config.data.scaling == ("unit" if "blocks" in settings else "z_score")


@pytest.mark.parametrize("net", baseline.NETS)
@pytest.mark.parametrize("loss", ["joint", "own"])
def test_a_baseline_s_loss_has_a_weight_for_each_of_its_outputs(net, loss):
    config = load(f"baseline.py:net={net},loss={loss}")
    ranges.check(config)
    model = models.build(**config.model.to_dict())
    maps = jax.ShapeDtypeStruct((2, 8, 8, 1), "float32")
    edges, masks = (maps,) * len(model.edge_stages), (maps,) * len(model.mask_stages)
    output = models.SegOutput(maps, edges, masks)
    loss_of = losses.build(**config.loss.to_dict())
    assert jax.eval_shape(loss_of, output, maps, maps)[0].shape == ()


def test_infnet_rows_switch_modules_and_the_full_network_is_the_default():
    rows = {
        "backbone": (False, False, False),
        "ppd": (True, False, False),
        "ra": (False, True, False),
        "ppd+ra": (True, True, False),
        "ppd+ra+ea": (True, True, True),
    }
    for row, expected in rows.items():
        m = load(f"infnet.py:row={row},data=covid_semiseg").model
        assert (m.partial_decoder, m.reverse_attention, m.edge_attention) == expected
    c = load("infnet.py")
    assert c.model.to_dict() == load("infnet.py:row=ppd+ra+ea").model.to_dict()
    assert models.build(**c.model.to_dict()) == models.build("infnet", dtype="float32")
    assert (c.epochs, c.batch_size, c.learning_rate, c.data.size) == (100, 16, 1e-4, (352, 352))
    assert (c.clip, c.step_decay.factor, c.step_decay.epochs) == (0.5, 0.1, 50)
    assert min(c.plateau.patience, c.early_stopping.patience) >= c.epochs


def test_augmentation_and_averages_are_off_in_the_paper_s_run_and_on_in_their_own():
    off, on = load("c2f.py"), load("c2f_augmented.py")
    plain = Augmentation(**off.augment.to_dict())
    assert plain == Augmentation()
    assert off.averaging.decay == 0
    changed = configuration.differences(configuration.to_json(off), configuration.to_json(on))
    assert {name.partition(".")[0] for name in changed} == {"augment", "averaging"}
    changes = Augmentation(**on.augment.to_dict())
    assert changes.moves
    assert changes.recolours


@pytest.mark.parametrize("i", [1, 2, 3, 4, 5])
def test_cif_supervises_the_first_i_stages_by_edges(i):
    model = load(f"c{i}f.py").model
    assert model.edge_levels == tuple(range(1, i + 1))
    assert model.mask_levels == tuple(range(i + 1, 6))
    assert model.fusion == "attention"


def test_table_1_is_the_default():
    c = load("c2f.py")
    assert c.data.size == (256, 256)
    found = (c.batch_size, c.learning_rate, c.early_stopping.patience, c.plateau.factor)
    assert found == (8, 1e-4, 25, 0.5)
    assert (c.loss.theta, c.loss.beta, c.loss.zeta, c.loss.omega) == (0.8, 0.4, 1.0, 1.0)
    assert np.isclose(c.plateau.patience, 25)
