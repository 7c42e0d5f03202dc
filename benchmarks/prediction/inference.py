"""How long a scan takes from file to mask, stage by stage.

    python benchmarks/prediction/inference.py --slices 300 --out inference.json
    python benchmarks/prediction/inference.py --weights NAME_OR_RUN --slices 300

Draws a NIfTI volume of sixteen phantom slices, each as several thin ones, reads it, runs the
network over its slices as `python -m cosup_jax predict` does, and writes the mask. Without
--weights it is ResUNet_C2F at full size with random weights, which takes as long as with trained
ones. The first batch, which compiles, is a row of its own. Needs Linux, for the memory at its peak.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import nibabel as nib
import numpy as np

from cosup_jax import models, phantom, weights
from cosup_jax.data.preprocess import Preprocessing
from cosup_jax.prediction import hysteresis, segmenter
from cosup_jax.scans import nifti


def main() -> None:
    """Times the stages, prints the table and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512, help="height and width of the scan")
    parser.add_argument("--size", type=int, default=256, help="height and width for the network")
    parser.add_argument("--width", type=int, default=64, help="channels of S1 and X1")
    parser.add_argument("--weights", help="name, file or run, instead of --size and --width")
    parser.add_argument("--out", type=Path, help="JSON of everything measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(arguments, Path(folder))
    print(f"{arguments.slices} slices of {arguments.side}×{arguments.side}, {measured['device']}")
    print("\n| stage | s | slices/s |\n| --- | --- | --- |")
    for name, seconds in measured["seconds"].items():
        count = measured["slices"][name]
        print(f"| {name} | {seconds:.2f} | {count / seconds:.1f} |")
    print(f"\nresident memory at its peak: {measured['peak_bytes'] / 1e9:.2f} GB")
    if arguments.out:
        arguments.out.write_text(json.dumps(measured, indent=2) + "\n")


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Returns the seconds of every stage and how many slices went through it."""
    scan = draw(folder / "scan.nii.gz", arguments.slices, arguments.side)
    segment = segmenter.Segmenter(network(arguments))
    seconds: dict[str, float] = {}

    began = time.perf_counter()
    volume = nifti.read_volume(scan)
    seconds["read"] = time.perf_counter() - began

    slices = (s.astype(np.float32) for s in volume.slices())
    found = segment(slices, volume.intensity, arguments.slices)
    began = time.perf_counter()
    next(found)
    seconds["first batch"] = time.perf_counter() - began

    # All slices once more, compiled: what every scan after the first costs.
    began = time.perf_counter()
    slices = (s.astype(np.float32) for s in volume.slices())
    boxes = segment.boxes(slices, volume.intensity)
    seconds["boxes"] = time.perf_counter() - began

    began = time.perf_counter()
    slices = (s.astype(np.float32) for s in volume.slices())
    found = segment(slices, volume.intensity, arguments.slices, boxes)
    masks = hysteresis.marked(found, network.threshold, network.peak)
    seconds["network"] = time.perf_counter() - began

    began = time.perf_counter()
    nifti.write_labels(folder / "mask.nii.gz", np.stack(masks).astype(np.uint8), scan)
    seconds["write"] = time.perf_counter() - began
    seconds["file to mask"] = sum(seconds[s] for s in ("read", "boxes", "network", "write"))
    count = {name: arguments.slices for name in seconds} | {"first batch": segmenter.full_batch()}
    return {
        "device": jax.local_devices()[0].device_kind,
        "seconds": seconds,
        "slices": count,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def draw(path: Path, slices: int, side: int) -> Path:
    """Writes the scan."""
    drawn = phantom.draw_volume(0, size=side, slices=min(16, slices), infected=True)
    repeats = -(-slices // len(drawn.image))
    axial = np.repeat(drawn.image, repeats, axis=0)[:slices]  # a chest as high as before
    thickness = drawn.spacing[0] / repeats
    affine = np.diag([-drawn.spacing[2], -drawn.spacing[1], thickness, 1.0])
    # Stored as (column, row, slice): rows run to the back, columns to the patient's left.
    nib.save(nib.Nifti1Image(axial.transpose(2, 1, 0), affine), path)
    return path


def network(arguments: argparse.Namespace) -> weights.Pretrained:
    """Returns the network that was asked for."""
    if arguments.weights:
        return weights.load_pretrained(arguments.weights)
    size = (arguments.size, arguments.size)
    model = models.build("cosup", width=arguments.width)
    variables = models.initialise(model, (*size, 1), seed=0)
    return weights.Pretrained("random", model, variables, Preprocessing(size), "", {})


if __name__ == "__main__":
    main()
