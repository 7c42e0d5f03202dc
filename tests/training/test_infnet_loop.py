"""What Inf-Net asks of the loop: its loss, multi-scale steps, step decay, grey values in 0..1."""

import functools

import jax
import numpy as np
import pytest

from cosup_jax import config as configuration
from cosup_jax import losses, runs
from cosup_jax.experiments import trials
from cosup_jax.runs import logs
from cosup_jax.training import epochs, loop, setup
from tests.phantoms import CONFIGS, tiny_config
from tests.training.tiny import TINY


def shrunk(data_dir, **changes):
    """configs/infnet.py with a network that has maps of all kinds, and no more.

    Inf-Net itself is trained with its loss in test_conformance.
    """
    config = configuration.load(str(CONFIGS / "infnet.py"))
    config.data.config = "tiny"
    config.data.data_dir = str(data_dir)
    config.data.size = (32, 32)
    config.data.scales = (1.0,)
    config.model = TINY
    config.batch_size = 4
    config.devices = 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def test_a_run_like_infnets_is_trained_and_evaluated_like_any(data_dir, tmp_path):
    config = shrunk(data_dir, epochs=2, step_decay__epochs=1, averaging__decay=0.5)
    summary = trials.train_and_evaluate(config, tmp_path)
    assert summary["split"] == "test"
    rows = logs.read_metrics(tmp_path)
    parts = [rows[0][f"train/{name}"] for name in ("edge", "semantic", "prediction")]
    assert rows[0]["train/loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-4, 1e-5])
    run = runs.open_run(tmp_path)
    assert run.preprocessing.scaling == "unit"
    assert run.config.loss.to_dict() == {"name": "infnet", "weighted_bce": True}


def test_slices_of_infnet_are_in_0_to_1(data_dir, tmp_path):
    images = setup.make_setup(shrunk(data_dir), tmp_path).open("train")
    values = np.stack([images[i]["image"] for i in range(len(images))])
    assert values.min() >= 0
    assert 0.9 < values.max() <= 1


def test_three_scales_are_three_compiled_steps_and_no_more(data_dir, tmp_path, monkeypatch):
    traced = []
    original = losses.build

    def build(**options):
        loss = original(**options)

        def counted(output, *args, **kwargs):
            if "weights" not in kwargs:  # validation has them
                traced.append(output.logits.shape[1:3])
            return loss(output, *args, **kwargs)

        return counted

    monkeypatch.setattr(losses, "build", build)
    config = tiny_config(data_dir, epochs=5, data__scales=(1.0, 2.0, 3.0))
    config.model = TINY
    loop.train_seeds(config, [config.seed], [tmp_path])
    assert sorted(traced) == [(32, 32), (64, 64), (96, 96)]
    assert len(logs.read_metrics(tmp_path)) == 5


def test_scales_are_rounded_to_multiples_of_32_and_drawn_by_the_number_of_the_step(
    data_dir, tmp_path
):
    config = configuration.load(str(CONFIGS / "infnet.py"))
    sizes = setup.scaled_sizes(config)
    assert sizes == [(256, 256), (352, 352), (448, 448)]
    config.data.data_dir, config.data.config = str(data_dir), "tiny"
    made = setup.make_setup(config, tmp_path)
    drawn = [made.drawn_size(step) for step in range(300)]
    assert set(drawn) == set(sizes) == made.train_steps.keys()
    assert all(70 < drawn.count(size) < 130 for size in sizes)
    again = setup.with_seed(made, 7, tmp_path)
    assert [again.drawn_size(step) for step in range(300)] == drawn
    for wrong in ((), (1.0, 0.0)):
        config.data.scales = wrong
        with pytest.raises(ValueError, match=r"data\.scales is .*expected positive"):
            setup.scaled_sizes(config)


def test_a_step_at_another_size_sees_the_slices_resized(data_dir, tmp_path):
    config = tiny_config(data_dir, data__scales=(2.0,))
    prepare = setup.make_prepare(config, (64, 64))
    dataset = setup.make_setup(config, tmp_path).open("train")
    batch = {k: np.stack([dataset[i][k] for i in range(4)]) for k in ("image", "mask")}
    out = jax.jit(prepare)(jax.random.split(jax.random.key(0), 4), batch["image"], batch["mask"])
    np.testing.assert_array_equal(out["mask"], batch["mask"].repeat(2, 1).repeat(2, 2))
    assert np.asarray(out["image"]).std() == pytest.approx(1, abs=1e-3)
    assert setup.make_prepare(config, (32, 32)) is None


def test_options_of_another_loss_are_refused_by_name(data_dir, tmp_path):
    config = tiny_config(data_dir, loss__name="infnet")
    with pytest.raises(ValueError, match=r"^loss\.beta is no option .*'infnet', which has"):
        setup.make_setup(config, tmp_path)


def test_the_rate_falls_by_its_factor_every_so_many_epochs(data_dir):
    decay = functools.partial(epochs.step_decay, shrunk(data_dir, step_decay__epochs=50))
    assert [decay(epoch) for epoch in (1, 49, 50, 99, 100)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert epochs.step_decay(tiny_config(data_dir), 500) == 1
