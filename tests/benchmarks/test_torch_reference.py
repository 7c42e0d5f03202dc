"""The network, its loss and its gradients against the plain PyTorch form of the benchmarks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cosup_jax import losses, models
from cosup_jax.models.initialise import initialise
from cosup_jax.runs.state import count_parameters
from tests import needs

torch = needs.module("torch")
torch_reference = needs.module("torch", "benchmarks.step.torch_reference")

SETTINGS = {"width": 6, "blocks": (1, 2, 1, 1), "edge_levels": (1, 2), "mask_levels": (3, 4, 5)}
SIZE, BATCH = (32, 48), 3
CLOSE = 1e-4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(BATCH, *SIZE, 1)).astype(np.float32)
    mask, edge = (rng.random(image.shape) < share for share in (0.3, 0.1))
    return {"image": image, "mask": mask.astype(np.uint8), "edge": edge.astype(np.uint8)}


@pytest.fixture(scope="module")
def variables():
    """Weights with no zero or one left, so that a bias or scale in the wrong place shows."""
    rng = np.random.default_rng(1)
    drawn = initialise(models.build("cosup", **SETTINGS), (*SIZE, 1), seed=0)

    def moved(leaf):
        return leaf + rng.uniform(0.05, 0.2, leaf.shape).astype(np.float32) * (leaf.ndim == 1)

    return jax.tree.map(moved, drawn)


@pytest.fixture(scope="module")
def ours(batch, variables):
    """Evaluation and training mode of the package's network, the latter with its gradients."""
    model = models.build("cosup", **SETTINGS)

    def objective(params):
        output, updates = model.apply(
            {**variables, "params": params}, batch["image"], train=True, mutable=["batch_stats"]
        )
        total, _ = losses.joint_loss(output, jnp.asarray(batch["mask"]), jnp.asarray(batch["edge"]))
        return total, (output, updates["batch_stats"])

    evaluated = jax.jit(lambda: model.apply(variables, batch["image"], train=False))()
    train = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (loss, (trained, batch_stats)), gradients = train(variables["params"])
    return {
        "evaluated": evaluated,
        "trained": trained,
        "loss": loss,
        "gradients": gradients,
        "batch_stats": batch_stats,
    }


@pytest.fixture
def plain(variables):
    module = torch_reference.CoSupNet(**SETTINGS)
    torch_reference.load_flax(module, variables)
    return module


def nchw(array):
    return torch.from_numpy(np.asarray(array, np.float32).transpose(0, 3, 1, 2).copy())


def assert_close(theirs, mine, name=""):
    difference = torch.linalg.norm(theirs - mine) / torch.linalg.norm(mine)
    assert difference <= CLOSE, f"{name}: {difference:.1e}"


def assert_same_logits(theirs, mine):
    assert_close(theirs.logits, nchw(mine.logits), "S_p")
    for kind in ("edge_logits", "mask_logits"):
        pairs = zip(getattr(theirs, kind), getattr(mine, kind), strict=True)
        for i, (torch_map, our_map) in enumerate(pairs):
            assert_close(torch_map, nchw(our_map), f"{kind}[{i}]")


def test_same_number_of_parameters(plain, variables):
    theirs = sum(parameter.numel() for parameter in plain.parameters())
    assert theirs == count_parameters(variables["params"])


def test_same_logits_with_the_running_statistics(plain, batch, ours):
    plain.eval()
    with torch.no_grad():
        image = nchw(batch["image"])
        assert_same_logits(plain(image), ours["evaluated"])
        assert_close(plain.segment(image), torch.sigmoid(nchw(ours["evaluated"].logits)))


def test_same_training_step(plain, batch, ours):
    plain.train()
    output = plain(nchw(batch["image"]))
    loss = torch_reference.joint_loss(output, nchw(batch["mask"]), nchw(batch["edge"]))
    loss.backward()

    assert_same_logits(output, ours["trained"])
    np.testing.assert_allclose(loss.item(), ours["loss"], rtol=CLOSE)
    gradients = torch_reference.torch_state({"params": ours["gradients"]})
    assert gradients.keys() == dict(plain.named_parameters()).keys()
    for name, parameter in plain.named_parameters():
        assert_close(parameter.grad, gradients[name], name)
    # Not the running variances, which PyTorch does not take as flax does.
    for name, mean in torch_reference.torch_state({"batch_stats": ours["batch_stats"]}).items():
        if name.endswith("running_mean"):
            assert_close(plain.get_buffer(name), mean, name)


@pytest.mark.parametrize("path", [("afm", "predict", "bias"), ("encoder", "stage1", "conv")])
def test_a_missing_leaf_is_refused(variables, path):
    params = jax.tree.map(lambda leaf: leaf, variables["params"])
    inner = params
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    with pytest.raises(RuntimeError, match=r"Missing key.*" + r"\.".join(path[:-1])):
        torch_reference.load_flax(
            torch_reference.CoSupNet(**SETTINGS), {**variables, "params": params}
        )


def test_weights_of_another_width_are_refused(variables):
    with pytest.raises(RuntimeError, match="size mismatch"):
        torch_reference.load_flax(torch_reference.CoSupNet(**{**SETTINGS, "width": 4}), variables)
