"""Does training with products in bfloat16 reach the Dice of float32? Same seeds, same data.

    python benchmarks/step/bf16.py --source FOLDER --seeds 5

Trains ResUNet_C2F small on COVID-SemiSeg in both types, scores the test split by the protocol
semiseg, and prints Dice by seed, mean ± sample standard deviation, and the difference with its
intervals over seeds (Welch) and paired by slice (bootstrap). Parameters, batch statistics and loss
are float32 in both. The folder --out holds the runs; the same command goes on where it was
interrupted. Further `--config.x=y` change both.
"""

import argparse
import json
from pathlib import Path

from scipy import stats

from cosup_jax.experiments import plan, results, runner
from cosup_jax.experiments.rows import Row

DTYPES = ("float32", "bfloat16")
# Set without a look at the test slices: by what two CPU cores do in minutes, and the small
# learning rate of the paper raised for the few steps.
SMALL = (
    "data.size=(64, 64)",
    "model.width=8",
    "model.blocks=(1, 1, 1, 1)",
    "learning_rate=1e-3",
    "epochs=40",
)


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="folder with the files of COVID-SemiSeg")
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    parser.add_argument("--out", type=Path, default=Path("runs/bf16"))
    arguments, overrides = parser.parse_known_args()
    if arguments.seeds < 2:
        parser.error("--seeds: a spread takes at least 2")
    small = [f"--config.{field}" for field in SMALL]
    found = [row(dtype, arguments, [*small, *overrides]) for dtype in DTYPES]
    table = summary(found)
    (arguments.out / "bf16.json").write_text(json.dumps(table, indent=2) + "\n")
    print("\n| type | Dice, mean ± sd over seeds | by seed | seconds an epoch |")
    print("| --- " * 4 + "|")
    for dtype in DTYPES:
        one = table[dtype]
        by_seed = " ".join(f"{100 * dice:.2f}" for dice in one["dice"])
        print(f"| {dtype} | {one['mean']:.2f} ± {one['sd']:.2f} | {by_seed} | {one['epoch']:.2f} |")
    d = table["difference"]
    print(
        f"\nbfloat16 less float32: {d['mean']:+.2f} points; 95 % interval over seeds "
        f"{_interval(*d['over_seeds'])} (p {d['p_seeds']:.2f}), over {d['n']} slices "
        f"{_interval(d['low'], d['high'])}"
    )


def row(dtype: str, arguments: argparse.Namespace, overrides: list[str]) -> results.RowResult:
    """Returns the scored runs of one type.

    Raises:
      RuntimeError: a run failed.
    """
    request = plan.Request(
        table="semiseg",
        data="covid_semiseg",
        source=arguments.source,
        seeds=arguments.seeds,
        out=arguments.out,
        selected=("c2f",),
        overrides=(*overrides, f"--config.model.dtype={dtype}"),
    )
    plan.find_configs(str(request.configs))
    plan.check_overrides(request)
    runner.prepare(request)
    found = runner.run_row(request, Row(dtype, f"ResUNet_C2F in {dtype}", "c2f.py"))
    if found.failed:
        raise RuntimeError(f"{dtype}: {found.failed}")
    return found


def summary(found: list[results.RowResult]) -> dict:
    """Returns Dice in per cent and seconds an epoch of each type, and how they differ."""
    table: dict = {}
    for one in found:
        dice = [run.value("dice") for run in one.runs]
        mean, deviation = results.spread([100 * value for value in dice])
        table[one.row.name] = {
            "dice": dice,
            "mean": mean,
            "sd": deviation,
            "epoch": sum(run.seconds for run in one.runs) / sum(run.epochs for run in one.runs),
        }
    (difference,) = results.differences(found, DTYPES[0])
    float32, bfloat16 = (table[dtype]["dice"] for dtype in DTYPES)
    seeds = stats.ttest_ind(bfloat16, float32, equal_var=False).confidence_interval()
    per_cent = {k: 100 * getattr(difference.found, k) for k in ("mean", "low", "high")}
    table["difference"] = {
        **per_cent,
        "n": difference.found.n,
        "over_seeds": [100 * end for end in seeds],
        "p_seeds": difference.p_seeds,
    }
    return table


def _interval(low: float, high: float) -> str:
    return f"{low:+.2f} to {high:+.2f}"


if __name__ == "__main__":
    main()
