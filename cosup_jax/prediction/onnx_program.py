"""A trained network as an ONNX program, for servers that speak ONNX. Needs `cosup-jax[onnx]`.

To use one, with `pip install onnxruntime`:

    import onnxruntime
    session = onnxruntime.InferenceSession("model.onnx")
    (probability,) = session.run(None, {"image": slices})  # (B, H, W, 1) → (B, H, W), float32
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from flax import linen as nn

from cosup_jax import models
from cosup_jax.prediction.export import probability

INPUT, OUTPUT = "image", "probability"
_CONVERTER = "jax2onnx"


def serialise(
    model: nn.Module,
    variables: Mapping[str, Any],
    size: tuple[int, int],
    batch: int | None = None,
) -> bytes:
    """Returns the program from prepared slices to the probability of infection.

    Args:
      model: a network of `cosup_jax.models`.
      variables: `{"params": …, "batch_stats": …}`, which become constants of the program.
      size: (H, W) of the slices.
      batch: how many slices the program takes at a time; None: any number.

    Returns:
      An ONNX model of `INPUT`, (B, H, W, 1) float32 slices, prepared as the network was trained
      (`cosup_jax.data.preprocess`), to `OUTPUT`, (B, H, W) float32 probabilities σ(S_p).

    Raises:
      ValueError: the converter cannot write the network, or not for any number of slices.
      ImportError: the converter is not installed.
    """
    try:
        with _quiet():
            from jax2onnx import to_onnx
    except ImportError as error:
        raise ImportError(
            f"ONNX needs {error.name}; install it with: pip install 'cosup-jax[onnx]'"
        ) from error
    model = models.without_heads(model)
    with _quiet():
        try:
            program = to_onnx(
                probability(model, variables),
                inputs=[("B" if batch is None else batch, *size, 1)],
                model_name="cosup_jax",
                input_names=[INPUT],
                output_names=[OUTPUT],
            )
        except Exception as error:  # of many kinds, none of which the converter names
            hint = "; with --batch N, for N slices at a time, it may go" if batch is None else ""
            raise ValueError(
                f"jax2onnx cannot write {type(model).__name__}{hint} "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            ) from error
    # Shapes between input and output, which the converter gets wrong and a server finds itself.
    del program.graph.value_info[:]
    return bytes(program.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from the terminal what the converter tells of itself."""
    logger = logging.getLogger(_CONVERTER)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
