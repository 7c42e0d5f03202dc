"""How fast a network is as an ONNX program, beside the same network in JAX.

    python benchmarks/prediction/onnx_speed.py --weights c2f-base --batch 8

Both give the probabilities of the same prepared slices on this machine's CPU, in turn, after a run
that is not counted; seconds are the median of the rounds, with the least and the most. Needs
`pip install 'cosup-jax[onnx]'`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from cosup_jax import load_pretrained, weights
from cosup_jax.prediction import onnx_program
from cosup_jax.weights.predictor import Predictor


def main() -> None:
    """Times both and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default=weights.DEFAULT, help="a name, a file or a run")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    network = load_pretrained(arguments.weights)
    size = network.preprocessing.size
    program = onnx_program.serialise(network.model, network.variables, size)
    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    slices = np.random.default_rng(0).standard_normal((arguments.batch, *size, 1), np.float32)
    forms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "JAX": Predictor(network.model, network.variables),
        "onnxruntime": lambda x: session.run(None, {onnx_program.INPUT: x})[0],
    }
    found = {name: form(slices) for name, form in forms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.rounds):
        for name, form in forms.items():
            began = time.perf_counter()
            form(slices)
            seconds[name].append(time.perf_counter() - began)
    difference = float(np.abs(found["JAX"] - found["onnxruntime"]).max())
    print(
        f"{network.name}, {arguments.batch} slices of {size[0]}×{size[1]}, {difference:.1e} apart"
    )
    print("\n| form | s (least to most) | slices/s |\n| --- | --- | --- |")
    for name, times in seconds.items():
        middle = statistics.median(times)
        spread = f"{middle:.3f} ({min(times):.3f} to {max(times):.3f})"
        print(f"| {name} | {spread} | {arguments.batch / middle:.1f} |")


if __name__ == "__main__":
    main()
