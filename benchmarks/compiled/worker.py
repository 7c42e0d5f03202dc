"""Compiles one program for a card that is not here, reads it, and writes what was read.

    python worker.py NAME FOLDER

Started by compiled.py in an environment that has JAX's plugin for CUDA.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import hlo
import jax
import numpy as np
import programs
from jax.experimental import topologies


def main(name: str, folder: str) -> None:
    """Writes NAME.json, and the program as NAME.hlo.gz."""
    job = next(job for job in programs.JOBS if job.name == name)
    card = programs.CARDS[job.card]
    topology = topologies.get_topology_desc(
        job.card, "cuda", topology="1 x 1 x 1", target_config=card.target
    )
    mesh = jax.sharding.Mesh(np.array(topology.devices), ("one",))
    there = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    function, shapes = programs.make(job)
    donated = () if job.work == "infer" else (0,)
    jitted = jax.jit(function, in_shardings=there, out_shardings=there, donate_argnums=donated)
    began = time.perf_counter()
    compiled = jitted.lower(*shapes).compile()
    seconds = time.perf_counter() - began
    text, plan = compiled.as_text(), compiled.memory_analysis()
    Path(folder, f"{name}.hlo.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    found = {
        "arguments": plan.argument_size_in_bytes,
        "temporaries": plan.temp_size_in_bytes,
        "results": plan.output_size_in_bytes - plan.alias_size_in_bytes,
        "compile_s": round(seconds, 1),
        "jax": jax.__version__,
        "program": json.loads(hlo.to_json(hlo.read(text))),
    }
    path = Path(folder, f"{name}.json")
    path.with_suffix(".part").write_text(json.dumps(found))
    path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
