"""Every loss takes masks as people have them, and none takes a mask of another shape."""

import jax
import numpy as np
import pytest

from cosup_jax import losses
from cosup_jax.models.output import SegOutput

ONE_CLASS = ("joint", "infnet", "joint_cross_entropy", "maps_cross_entropy", "cross_entropy_dice")
HARD = {"maps_cross_entropy": {"hardest": 5}}  # the other way through that loss
EACH = [(name, {}) for name in ONE_CLASS] + list(HARD.items())
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 4, 6, 1)).astype(np.float32)
OUTPUT = SegOutput(LOGITS, (LOGITS,), (LOGITS,))
MASK, EDGE = RNG.random((2, *LOGITS.shape)) > 0.6


@pytest.mark.parametrize(("name", "options"), EACH)
def test_a_mask_of_0_and_255_is_that_of_0_and_1(name, options, strict_dtypes):
    loss = jax.jit(losses.build(name, **options))
    wanted = float(loss(OUTPUT, MASK, EDGE)[0])
    for dtype, one in ((np.uint8, 255), (np.uint8, 1), (np.int32, 1), (np.float32, 1)):
        stored = [(one * target).astype(dtype) for target in (MASK, EDGE)]
        assert float(loss(OUTPUT, *stored)[0]) == pytest.approx(wanted, rel=1e-6)


def test_a_floating_target_may_be_soft():
    half = np.full(LOGITS.shape, 0.5, np.float32)
    assert float(losses.soft_dice(0 * LOGITS, half)) == pytest.approx((24 + 1) / (48 + 1))


@pytest.mark.parametrize(("name", "options"), EACH)
@pytest.mark.parametrize(
    "other", [MASK[..., 0], MASK[:1], MASK.transpose(0, 3, 1, 2), MASK[:, :1]], ids=np.shape
)
def test_a_mask_of_another_shape_is_refused_and_not_broadcast(name, options, other):
    with pytest.raises(ValueError, match=r"both must be the same \(B, H, W, 1\)"):
        losses.build(name, **options)(OUTPUT, other, EDGE)


@pytest.mark.parametrize("name", ONE_CLASS)
def test_channels_first_is_refused(name):
    first = LOGITS.transpose(0, 3, 1, 2)
    mask = MASK.transpose(0, 3, 1, 2)
    with pytest.raises(ValueError, match=r"both must be the same \(B, H, W, 1\)"):
        losses.build(name)(SegOutput(first, (), ()), mask, mask)


@pytest.mark.parametrize("name", ["multiclass_joint", "cross_entropy", "one_hot"])
def test_classes_may_be_of_any_real_type(name):
    output = SegOutput(RNG.normal(size=(2, 4, 6, 3)).astype(np.float32), (), ())
    loss = jax.jit(losses.build(name))
    wanted = float(loss(output, MASK.astype(np.int32), EDGE)[0])
    for dtype in (bool, np.uint8, np.float32):
        assert float(loss(output, MASK.astype(dtype), EDGE)[0]) == wanted
