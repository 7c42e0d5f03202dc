"""What benchmarks/step/step.py makes of its measurements: ceilings, rows, the table."""

import math
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
from step_process import Process

CEILINGS = {"matmul": "flops", "copy": "bytes"}  # the work that measures a rate


def make_report(settings: dict[str, Any], processes: list[Process]) -> dict[str, Any]:
    """Returns all that was measured, ready for JSON."""
    limits = ceilings(processes)
    return {
        "settings": settings,
        "machine": machine(processes),
        "ceilings": limits,
        "rows": make_rows(processes, limits),
    }


def ceilings(processes: list[Process]) -> dict[str, float]:
    """Returns the machine's FLOP/s and bytes/s, the better of the frameworks."""
    found: dict[str, float] = {}
    for process in processes:
        kind = CEILINGS.get(process.job.work)
        if kind and process.seconds:
            rate = process.facts[kind] / float(np.median(process.seconds))
            found[kind] = max(rate, found.get(kind, 0.0))
    return found


def make_rows(processes: list[Process], limits: dict[str, float]) -> list[dict[str, Any]]:
    """Returns a dictionary per form of the work, ratios to the best PyTorch forms included."""
    rows = []
    for process in processes:
        job = process.job
        if job.work in CEILINGS:
            continue
        facts = {name: fact for name, fact in process.facts.items() if name != "versions"}
        row = {"work": job.work, "name": job.name, **facts, "seconds": process.seconds}
        rows.append(row)
        if process.failed or not process.seconds:
            continue
        low, median, high = np.percentile(process.seconds, (25, 50, 75))
        row["slices_per_s"] = [float(job.batch / s) for s in (high, median, low)]
        for kind in CEILINGS.values():
            if kind in process.facts and kind in limits:
                row[f"{kind}_share"] = float(process.facts[kind] / median / limits[kind])
        for rival in ("torch", "torch.compile"):
            rivals = [
                other.seconds
                for other in processes
                if (other.job.work, other.job.framework) == (job.work, rival) and not other.failed
            ]
            if rivals:
                best = min(rivals, key=np.median)
                row[f"times_{rival}"] = float(np.median(np.divide(best, process.seconds)))
    return rows


def machine(processes: list[Process]) -> dict[str, str]:
    """Returns what the figures depend on besides the settings."""
    found = {"cpu": _cpu(), "python": platform.python_version()}
    for process in processes:
        found |= process.facts.get("versions", {})
    return found


def table(report: dict[str, Any]) -> str:
    """Returns the report as Markdown."""
    settings = ", ".join(f"{name} {_plain(value)}" for name, value in report["settings"].items())
    limits = report["ceilings"]
    lines = [
        settings,
        ", ".join(f"{name} {value}" for name, value in report["machine"].items()),
        "ceilings: "
        f"{limits.get('flops', math.nan) / 1e12:.3f} TFLOP/s, "
        f"{limits.get('bytes', math.nan) / 1e9:.1f} GB/s",
        "",
        "| work | framework | slices/s, median (quartiles) | × torch | × torch.compile | peak GB "
        "| XLA's plan GB | init s | compile s | GFLOP/slice | GB/slice | of matrix rate "
        "| of bandwidth |",
        "| --- " * 13 + "|",
    ]
    return "\n".join(lines + [_line(row, report["settings"]["batch"]) for row in report["rows"]])


def _plain(value: Any) -> str:
    return "+".join(value) if isinstance(value, list) else str(value)


def _line(row: dict[str, Any], batch: int) -> str:
    if "slices_per_s" not in row:
        return f"| {row['work']} | {row['name']} | {row.get('error', 'not run')} |" + " |" * 10
    low, median, high = row["slices_per_s"]
    cells = [
        row["work"],
        row["name"],
        f"{median:.4g} ({low:.4g}–{high:.4g})",
        _number(row, "times_torch"),
        _number(row, "times_torch.compile"),
        _number(row, "peak_bytes", 1e-9),
        _number(row, "planned_bytes", 1e-9),
        _number(row, "init_s"),
        _number(row, "compile_s"),
        _number(row, "flops", 1e-9 / batch),
        _number(row, "bytes", 1e-9 / batch),
        _number(row, "flops_share", 100, " %"),
        _number(row, "bytes_share", 100, " %"),
    ]
    return f"| {' | '.join(cells)} |"


def _number(row: dict[str, Any], name: str, factor: float = 1, unit: str = "") -> str:
    return f"{row[name] * factor:.2f}{unit}" if name in row else "–"


def _cpu() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores"
