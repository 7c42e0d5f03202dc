"""Processes that work on cohorts with a segmenter that costs nothing; started by the tests.

    python -m tests.prediction.sharing

Each line that it reads is a list of calls, [out, threshold, inputs] in JSON. All of them are made
at once, each by a process of its own; then it prints what each has come to, a list in JSON.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path

from cosup_jax.prediction import cohort
from tests.prediction.scan_files import Brightest, process


class Counting(Brightest):
    """Counts the scans that are computed."""

    computed = 0

    def labelled(self, slices, intensity, count, boxes=None):
        """See `Segmenter`."""
        Counting.computed += 1
        yield from super().labelled(slices, intensity, count)


def work(out, threshold, inputs):
    """Makes one call and returns its end."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            rows = process([Path(given) for given in inputs], Path(out), threshold=threshold)
    except BaseException:
        said.write(traceback.format_exc())
        rows = []
    return {
        "status": [row["status"] for row in rows],
        "computed": Counting.computed,
        "said": said.getvalue(),
    }


def main():
    cohort.Segmenter = Counting
    for line in sys.stdin:
        ends = []
        for call in json.loads(line):
            reading, writing = os.pipe()
            if not os.fork():
                with os.fdopen(writing, "w") as pipe:
                    json.dump(work(*call), pipe)
                os._exit(0)
            os.close(writing)
            ends.append(os.fdopen(reading))
        print(json.dumps([json.load(end) for end in ends]), flush=True)
        for _ in ends:
            os.wait()


if __name__ == "__main__":
    main()
