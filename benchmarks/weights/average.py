r"""The weighted mean of the tensors of files of one network: weights with a threshold anew.

    python benchmarks/weights/average.py --data FOLDER --crop mirrored --out c2f-base.safetensors \
        --weights trained.safetensors:0.85 before.safetensors:0.15

Of weights and what they were trained on from, the mean often does better on what neither was
trained on than both. Network, preparation of the slices and card are those of the first file; its
people are those of all. Threshold and peak are those with the best macro mean over the validation
sets.
"""

import argparse
from pathlib import Path

import numpy as np
import shown

from cosup_jax import weights


def main() -> None:
    """Writes the file, scores it, and writes it again with what came of that."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the five sets")
    parser.add_argument("--weights", nargs="+", required=True, help="name or file, colon, share")
    parser.add_argument("--crop", choices=weights.CROPS, required=True, help="part of the slice")
    parser.add_argument("--out", type=Path, required=True, help="the file, .safetensors")
    arguments = parser.parse_args()
    mean: dict[str, np.ndarray] = {}
    types: dict[str, np.dtype] = {}
    abouts = []
    for name, _, share in (one.rpartition(":") for one in arguments.weights):
        says, tensors = shown.read(name)
        abouts.append(says)
        for key, tensor in tensors.items():
            types[key] = tensor.dtype
            mean[key] = mean.get(key, 0) + float(share) * tensor.astype(np.float64)
    told = abouts[0]
    people = sorted({one for each in abouts for one in each["card"]["trained_on"]})
    told["crop"], told["card"]["trained_on"] = arguments.crop, people
    averaged = {key: tensor.astype(types[key]) for key, tensor in mean.items()}
    shown.write_tuned(arguments.out, averaged, told, arguments.data)


if __name__ == "__main__":
    main()
