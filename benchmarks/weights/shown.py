r"""The same network, shown slices of another size or part: weights with their threshold anew.

    python benchmarks/weights/shown.py --data FOLDER --weights c2f-base --size 192 256 \
        --crop volume --out cosup_jax/weights/c2f-small.safetensors

Makes `c2f-small` of `c2f-base`: tensors and card are the same, threshold and peak those with the
best macro mean over the validation sets (score.py).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import score
import sets
from safetensors import safe_open
from safetensors.numpy import save

from cosup_jax import files, load_pretrained, weights
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.weights import about


def main() -> None:
    """Writes the file, scores it, and writes it again with what came of that."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the five sets")
    parser.add_argument("--weights", default=weights.DEFAULT, help="name or file")
    parser.add_argument("--size", type=int, nargs=2, required=True, help="height and width, pixels")
    parser.add_argument("--crop", choices=weights.CROPS, required=True, help="part of the slice")
    parser.add_argument("--out", type=Path, required=True, help="the file, .safetensors")
    arguments = parser.parse_args()
    told, tensors = read(arguments.weights)
    told["preprocessing"]["size"], told["crop"] = arguments.size, arguments.crop
    write_tuned(arguments.out, tensors, told, arguments.data)


def read(which: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns what a file of weights says of itself, and its tensors; takes a name or a file."""
    with safe_open(weights.file_of(which), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return about.parse(file.metadata()), tensors


def write_tuned(
    out: Path, tensors: dict[str, np.ndarray], told: dict[str, Any], data: Path
) -> None:
    """Writes a file of weights with the threshold and the peak that are best for it.

    Args:
      out: the file.
      tensors: what it holds.
      told: what it says of itself; threshold, peak, name and macro mean are put in.
      data: folder with the five sets.
    """

    def write() -> None:
        files.write_bytes(out, save(tensors, {about.KEY: json.dumps(told)}))

    write()
    segment = Segmenter(load_pretrained(out))
    threshold, peak, macro = score.tuned(segment, sets.validation(data))
    told["threshold"], told["peak"] = threshold, peak
    told["card"] |= {"name": out.stem, "scores": {"validation_macro_mean": round(macro, 4)}}
    write()
    print(f"{out}: threshold {threshold}, peak {peak}, macro mean {macro:.3f}")


if __name__ == "__main__":
    main()
