"""A trained network as one portable program, for servers that have JAX and nothing of this package.

The program is StableHLO with the weights inside, as `jax.export` serialises it; JAX promises to
read such files for six months. To use one, with `pip install jax flatbuffers`:

    import pathlib
    import jax
    program = jax.export.deserialize(pathlib.Path("model.stablehlo").read_bytes())
    probability = jax.jit(program.call)(slices)  # (B, H, W, 1) float32 → (B, H, W) float32
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export

from cosup_jax.models.output import SegOutput

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_LOCATIONS = "jax_traceback_in_locations_limit"
DEFAULT_PLATFORMS = PLATFORMS[:2]


def serialise(
    model: nn.Module,
    variables: Mapping[str, Any],
    size: tuple[int, int],
    platforms: Sequence[str] = DEFAULT_PLATFORMS,
) -> bytes:
    """Returns the program from prepared slices to the probability of infection.

    Args:
      model: a network of `cosup_jax.models`.
      variables: `{"params": …, "batch_stats": …}`, which become constants of the program.
      size: (H, W) of the slices.
      platforms: where the program can run, some of `PLATFORMS`.

    Returns:
      A function of (B, H, W, 1) float32 slices, prepared as the network was trained
      (`cosup_jax.data.preprocess`), to (B, H, W) float32 probabilities σ(S_p), as
      `jax.export.deserialize` reads it. B is free, H and W are not. No path of this machine is in
      it.

    Raises:
      ValueError: an unknown platform, or none.
    """
    unknown = sorted(set(platforms) - set(PLATFORMS))
    if unknown or not platforms:
        raise ValueError(
            f"platforms {', '.join(unknown) or '(none)'}: expected some of {', '.join(PLATFORMS)}"
        )

    batch = export.symbolic_shape(f"b, {size[0]}, {size[1]}, 1")
    found = jax.jit(probability(model, variables))
    exported = export.export(found, platforms=list(platforms))
    with _without_locations():
        return bytes(exported(jax.ShapeDtypeStruct(batch, jnp.float32)).serialize())


def probability(model: nn.Module, variables: Mapping[str, Any]) -> Callable[[jax.Array], jax.Array]:
    """Returns what a program computes: (B, H, W, 1) prepared slices to (B, H, W) σ(S_p)."""

    def found(image: jax.Array) -> jax.Array:
        output: SegOutput = model.apply(variables, image, train=False)  # type: ignore[assignment]
        return jax.nn.sigmoid(output.infection)[..., 0]

    return found


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    """Keeps out of a program where each operation stands, in files on the exporter's machine."""
    before = getattr(jax.config, _LOCATIONS)
    jax.config.update(_LOCATIONS, 0)
    try:
        yield
    finally:
        jax.config.update(_LOCATIONS, before)
