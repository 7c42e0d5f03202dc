"""Makes weights that come with the package: data, training, choice, export and card.

    python benchmarks/weights/make.py --data FOLDER --workdir runs/weights --model small

Started again it goes on where it was stopped, after a signal (SIGTERM, SIGINT) in the next step and
after a kill with the epoch it was in. `nice -n 19` leaves the machine to others meanwhile.
`--data` holds covid_ct_seg_slices, medseg_volumes, covid_semiseg, normal_slices and ct_hu. In
`--workdir` appear

- `data`: the slices (data.py), made once and the same for all models;
- `<model>`: the run, as train.py leaves one with configs/weights.py:model=<model>;
- `c2f-<model>.safetensors`: the epoch with the best mean over the groups of the validation slices,
  with the threshold and the peak that are best on the validation sets (score.py);
- `c2f-<model>.md`: tables and curve for its card, as table.py and this script print them.

`--export` writes the last two of the best epoch so far and trains no further; it may be done while
another process trains.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # configurations import each other

import data
import jax
import score
import sets

from configs.weights import MODELS
from cosup_jax import compilation, load_pretrained, runs, signals, weights
from cosup_jax import config as configuration
from cosup_jax.prediction.segmenter import Segmenter
from cosup_jax.runs import checkpoints
from cosup_jax.training import loop

CONFIG = Path(__file__).parents[2] / "configs" / "weights.py"
LICENCE = "non-commercial research only, from its data; see the card"
CURVE_ROWS = 25


def main() -> None:
    """Does what is not done yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the five sets")
    parser.add_argument("--workdir", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--model", choices=MODELS, default="small")
    parser.add_argument("--init", default="", help="weights to begin with; default: random ones")
    parser.add_argument("--epochs", type=int, help="train to this one; default: configs/weights.py")
    parser.add_argument("--export", action="store_true", help="do not train, export the best")
    arguments = parser.parse_args()
    workdir = arguments.workdir.expanduser().resolve()
    run = workdir / arguments.model
    if not arguments.export:
        train(arguments.data, workdir, arguments.model, arguments.init, arguments.epochs)
    export(arguments.data, run, workdir / f"c2f-{arguments.model}")


def train(source: Path, workdir: Path, model: str, init: str, epochs: int | None) -> None:
    """Puts the data together where they are not, and trains or goes on training."""
    slices = workdir / "data"
    if not (slices / f"{data.VALIDATION}_index.csv").is_file():  # which is written last
        data.assemble(source, slices)
    config = configuration.load(f"{CONFIG}:model={model},data=slice_folder")
    config.data.source = str(slices)
    config.data.data_dir = str(workdir / "tfds")
    config.init = init or None
    config.epochs = epochs or config.epochs
    loop.train_seeds(config, [config.seed], [workdir / model])


def export(source: Path, folder: Path, name: Path) -> None:
    """Writes the best epoch so far with its threshold and peak, and the curve for its card.

    What is scored is what the file holds, in half precision.
    """
    run, rows = runs.open_run(folder), checkpoints.read_history(folder)
    path, text = (name.with_suffix(suffix) for suffix in (weights.files.SUFFIX, ".md"))
    weights.save(path, run, {}, crop=weights.MIRRORED)
    segment = Segmenter(load_pretrained(path))
    threshold, peak, macro = score.tuned(segment, sets.validation(source))
    used = cpu_hours(rows[: run.epoch])
    people = json.loads((folder / runs.DATA).read_text())["trained_on"]["patients"]
    card = {
        "name": name.name,
        "licence": LICENCE,
        "trained_on": [person for person in people if person],
        "scores": {"validation_macro_mean": round(macro, 4)},
        "cpu_hours": round(used, 2),
        "intended_use": "research; not a medical device",
    }
    weights.save(path, run, card, threshold=threshold, peak=peak, crop=weights.MIRRORED)
    text.write_text(
        f"Epoch {run.epoch} of {rows[-1]['epoch']}, after {used:.1f} of {cpu_hours(rows):.1f} CPU "
        f"hours; threshold {threshold}, peak {peak}, macro mean {macro:.3f}.\n\n{curve(rows)}"
    )
    print(
        f"{path}: epoch {run.epoch}, threshold {threshold}, peak {peak}, macro mean {macro:.3f}; "
        f"see {text}"
    )


def cpu_hours(rows: Sequence[Mapping[str, float]]) -> float:
    """Returns how long the processors worked for these epochs, in hours of one processor."""
    return sum(row.get("cpu_seconds", 0.0) for row in rows) / 3600


def curve(rows: Sequence[Mapping[str, float]]) -> str:
    """Returns some epochs as a table, evenly spread, the last included."""
    lines = [
        "| epoch | CPU hours | training loss | validation loss | macro mean | learning rate |",
        "| --- " * 6 + "|",
    ]
    step = max(1, len(rows) // CURVE_ROWS)
    for i in [*range(step - 1, len(rows) - 1, step), len(rows) - 1]:
        row, hours = rows[i], cpu_hours(rows[: i + 1])
        lines.append(
            f"| {row['epoch']} | {hours:.2f} | {row['train/loss']:.3f} | "
            f"{row['validation/loss']:.3f} | {row['validation/dice']:.3f} | "
            f"{row['learning_rate']:.1e} |"
        )
    return "\n".join(lines) + "\n"


def start(main: Callable[[], None]) -> None:
    """Runs a script that can go on where it was; a signal ends it with a word."""
    signals.catch()
    if cache := compilation.use_cache():
        jax.config.update("jax_compilation_cache_dir", str(cache))
    signals.raising()
    try:
        main()
    except KeyboardInterrupt as error:
        print(f"{error or 'interrupted'}; the same command goes on", file=sys.stderr)
        sys.exit(signals.status(error))


if __name__ == "__main__":
    start(main)
