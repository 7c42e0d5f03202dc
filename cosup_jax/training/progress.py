"""The progress bar over all steps, and the first estimate of how long a run takes."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from cosup_jax import hosts
from cosup_jax.training.setup import Setup

LONG_ON_CPU_S = 30 * 60


class ProgressBar:
    """Shows loss, Dice, slices/s and the time left; says the expected total once it can.

    Args:
      setup: the run.
      steps: steps an epoch.
      done: steps that were taken before.
      networks: how many are trained at once.
    """

    def __init__(self, setup: Setup, steps: int, done: int, networks: int = 1) -> None:
        self._setup = setup
        self.steps_per_epoch = steps
        self._slices = setup.config.batch_size * networks
        self._left = setup.config.epochs * steps - done
        self._bar = tqdm(
            total=setup.config.epochs * steps,
            initial=done,
            unit="step",
            # A log file needs no line a second.
            mininterval=1.0 if sys.stderr.isatty() else 30.0,
            dynamic_ncols=True,
            disable=not hosts.is_first(),
        )
        self.taken = 0
        self._started = time.perf_counter()

    def step(self, metrics: Mapping[str, float]) -> None:
        """Counts a finished step."""
        self.taken += 1
        now = time.perf_counter()
        # The first step holds the compilation, which neither rate nor time left must count; the
        # second one is what all others cost.
        if self.taken == 1:
            self._bar.unpause()
            self._started = now
        elif self.taken == 2:
            self._estimate(now - self._started)
        shown = {"loss": f"{metrics['loss']:.3f}", "dice": f"{metrics['dice']:.3f}"}
        if rate := self._bar.format_dict.get("rate"):
            shown["slices_per_s"] = f"{self._slices * rate:.1f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def _estimate(self, seconds_per_step: float) -> None:
        total = seconds_per_step * self._left
        self.say(
            f"{seconds_per_step:.2f} s a step: at most {_duration(total)} for "
            f"{self._setup.config.epochs} epochs (early stopping may end the run sooner)"
        )
        if total > LONG_ON_CPU_S and self._setup.devices[0].platform == "cpu":
            self.say(
                "that is long for a CPU; `python train.py --config=configs/quickstart.py` trains a "
                "small network in a few minutes"
            )

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.close()


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
