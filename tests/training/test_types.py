"""Types of training with products in bfloat16: what is carried on and judged stays float32."""

import jax
import jax.numpy as jnp
import numpy as np

from cosup_jax import losses, models
from cosup_jax.runs.state import create_state, make_optimizer
from cosup_jax.training import step


def test_a_bfloat16_step_multiplies_in_bfloat16_and_carries_on_float32():
    model = models.build("cosup", width=4, blocks=(1, 1, 1, 1), dtype=jnp.bfloat16)
    state = create_state(model, make_optimizer(1e-4), size=(32, 32), seed=0, average=True)
    mask = np.zeros((2, 32, 32, 1), np.uint8)
    batch = {"image": mask.astype(np.float32), "mask": mask, "edge": mask}

    def take(state, batch):
        return step.train_step(state, batch, loss=losses.build("joint"), decay=0.9)

    traced = jax.jit(take).trace(state, batch)
    assert "bf16[2,32,32,4] = conv_general_dilated" in str(traced.jaxpr)
    after, metrics = traced.out_info
    carried = (after.params, after.batch_stats, after.opt_state, after.average, metrics)
    found = {leaf.dtype for leaf in jax.tree.leaves(carried)}
    assert found == {jnp.dtype("float32"), jnp.dtype("int32")}  # Adam counts its steps
    assert metrics["loss"].dtype == jnp.float32
