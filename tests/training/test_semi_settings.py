"""What is wrong with the settings of a semi-supervised run is told before anything is trained."""

import pytest

from cosup_jax import devices
from cosup_jax.experiments import trials
from cosup_jax.training import pseudo, semi
from tests.training.test_semi import semi_config

PATIENTS = ("phantom_0000", "phantom_0001", "phantom_0002")  # of the split train


@pytest.fixture(scope="module")
def tfds(quick_run):
    return quick_run.parent / "tfds"


def test_a_dry_run_tells_the_four_steps(tfds, monkeypatch):
    monkeypatch.setattr(
        semi.preview, "dry_run", lambda config, also: f"K = {config.semi.per_round}, {also}"
    )
    config = semi_config(tfds, semi__epochs=0.5)
    config.semi.exclude_patients = PATIENTS[:1]  # of two of the seven slices
    assert semi.dry_run(config).splitlines() == [
        "K = 0, [4]",
        "semi-supervised training, in four steps:",
        f"  1. 5 labelled slices, at most {config.epochs} epochs",
        # Half of 8 and 10 slices in batches of 4: 1 step each.
        f"  2. 5 unlabelled slices, 3 a round: 2 rounds, 2 steps, without those of {PATIENTS[0]}",
        "  3. their pseudo labels alone, at most 100 epochs of batch 4",
        f"  4. 5 labelled slices, at most {config.epochs} epochs",
    ]
    config.semi.unlabelled = "unlabelled"
    with pytest.raises(
        pseudo.PoolError, match="no split 'unlabelled' .*semi.per_round.*has train, validation"
    ):
        semi.dry_run(config)


def test_devices_that_do_not_divide_the_batch_of_pretraining_are_told_of_first(tfds, tmp_path):
    config = semi_config(tfds, devices=2, semi__pretrain_batch_size=3)
    told = "a batch of 3 .* by 2 devices; give a multiple with --config.semi.pretrain_batch_size"
    with pytest.raises(devices.DeviceError, match=told):
        trials.train_semi(config, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("semi__epochs", 0.0, r"semi.epochs is 0.0, expected a number above 0"),
        ("semi__pretrain_epochs", 0, r"semi.pretrain_epochs is 0, expected a whole number"),
        ("semi__unlabelled", "validation", "that split is used for validation"),
        ("semi__unlabelled", "test", "that split is used for test"),
        ("semi__unlabelled", "unlabelled", "no split 'unlabelled' .*has train, validation, test"),
        ("semi__exclude_patients", ("nobody",), "names nobody, not in the split"),
        ("semi__unlabelled", "train[4:]", r"semi.unlabelled=train\[4:\]: .* slices more than once"),
        ("semi__pretrain_batch_size", 8, "pretrain_batch_size=8: .* 7 slices of .*, fewer than"),
        ("semi__exclude_patients", PATIENTS, "has no slice left"),
        (
            "sampling__groups",
            (("phantom_0000", "all", 1.0),),
            r"no group for case 'phantom_000[12]' of the split 'train\[5:\]'; there are",
        ),
        (
            "sampling__groups",
            (("phantom_0004", "all", 1.0), ("", "all", 1.0)),
            r"the split 'train\[5:\]' has no slice of phantom_0004 \(all\)",
        ),
        ("data__lungs", True, r"data.lungs=True: pseudo labels are given to slices as they are"),
        ("data__crop", "volume", r"data.crop=volume: pseudo labels are given to whole slices"),
        ("model", {"name": "unet", "classes": 3}, "pseudo labels do not tell classes apart"),
    ],
)
def test_wrong_settings_are_named(field, value, says, tfds, tmp_path):
    config = semi_config(tfds)
    config.update_from_flattened_dict({field.replace("__", "."): value})
    with pytest.raises(ValueError, match=says):
        trials.train_semi(config, tmp_path)
    assert list(tmp_path.iterdir()) == []
