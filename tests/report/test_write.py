"""The file itself: its size, its texts, its promises to the browser, and what is refused."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from cosup_jax.prediction.findings import FIELDS
from tests.report.pages import write


def test_the_file_keeps_to_its_budget_whatever_is_in_it(scan, tmp_path):
    rng = np.random.default_rng(0)
    noise = {
        "volume": rng.integers(-1024, 1380, (40, 64, 64), np.int16),
        "mask": rng.random((40, 64, 64)) < 0.5,
        "probability": rng.random((40, 64, 64)),
        "notes": ["note " * 50],
    }
    for budget in (150_000, 300_000, 600_000):
        path = write(tmp_path / "scan.html", scan, **noise, budget_bytes=budget)
        assert 0.7 * budget < path.stat().st_size <= budget


def test_a_budget_that_cannot_be_kept_is_refused_and_leaves_nothing(scan, tmp_path):
    path = tmp_path / "scan.html"
    with pytest.raises(ValueError, match=r"scan\.html: budget_bytes=20,000: .*room for 0"):
        write(path, scan, budget_bytes=20_000)
    assert list(tmp_path.iterdir()) == []


def test_only_the_pages_own_script_and_style_are_allowed(scan, tmp_path):
    html = write(tmp_path / "scan.html", scan).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed.pop("default-src") == "'none'"
    for kind, tag in (("script-src", r'script type="module"'), ("style-src", "style")):
        source = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", html, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert allowed.pop(kind) == f"'sha256-{digest}'"
    assert set(allowed.values()) == {"'none'"}
    assert not re.search(r"""(src|href)=["'](?!#)""", html)


def test_the_same_scan_gives_the_same_bytes(scan, tmp_path):
    one, two = (write(tmp_path / name, scan).read_bytes() for name in ("a.html", "b.html"))
    assert one == two


def settings_of(path):
    html = path.read_text()
    return json.loads(re.search(r'id="settings">(.*?)</script>', html)[1])


def test_the_burden_counts_the_voxels_of_each_slice(scan, tmp_path):
    burden = settings_of(write(tmp_path / "scan.html", scan))["burden"]
    assert burden["unit"] == "cm²"
    assert burden["area"] == pytest.approx(scan.spacing[1] * scan.spacing[2] / 100)
    assert burden["counts"] == scan.mask.sum((1, 2)).tolist()


def test_every_finding_of_a_scan_has_a_name_and_a_unit(scan, tmp_path):
    path = write(tmp_path / "scan.html", scan, findings=dict.fromkeys(FIELDS, 1234.5))
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', path.read_text())
    assert len(dict(rows)) == len(FIELDS)
    units = {"ml": "mL", "percent": "%", "hu": "HU"}
    for field, (name, value) in zip(FIELDS, rows, strict=True):
        unit = units.get(field.rpartition("_")[2])
        assert value == ("1,234" if unit is None else f"1,234 <small>{unit}</small>")
        assert field == "slices" or name.lower() != field.replace("_", " ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, "7"),
        (12345, "12,345"),
        (-712.34, "−712.3"),
        (0.5, "0.50"),
        (0.00144, "0.0014"),
        (0.0, "0.00"),
        (33.333, "33.33"),
        (123456.7, "123,457"),
        (np.float32(1 / 3), "0.33"),
        (np.int64(-3), "−3"),
        (float("nan"), "nan"),
        (True, "yes"),
        ("a < b", "a &lt; b"),
    ],
)
def test_values_are_shown_with_about_four_digits(scan, tmp_path, value, shown):
    html = write(tmp_path / "scan.html", scan, findings={"x": value}).read_text()
    assert f'<th scope="row">X</th><td>{shown}</td>' in html


@pytest.mark.parametrize("title", ["\udcff.nii", "\N{RIGHT-TO-LEFT OVERRIDE}gpj", "雪 ♥.nii", ""])
def test_any_file_name_can_be_a_title(scan, tmp_path, title):
    path = write(tmp_path / "scan.html", scan, title=title)
    assert f"<h1>{title.replace(chr(0xDCFF), '?')}</h1>" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume": np.zeros((4, 5))}, r"volume: float64 of shape \(4, 5\)"),
        ({"volume": np.zeros((0, 5, 5))}, r"volume: .*\(0, 5, 5\)"),
        ({"volume": np.zeros((1, 2, 2), complex)}, "volume: complex128"),
        ({"volume": np.full((10, 80, 96), np.nan)}, "volume: holds NaN"),
        ({"mask": np.zeros((10, 80, 96), np.uint8)}, "mask: uint8"),
        ({"mask": np.zeros((10, 80, 95), bool)}, r"mask: bool of shape \(10, 80, 95\)"),
        ({"probability": np.zeros((10, 80, 95))}, r"probability: of shape \(10, 80, 95\)"),
        ({"probability": np.full((10, 80, 96), 1.5)}, "probability: .*not in 0..1"),
        ({"probability": np.full((10, 80, 96), np.nan)}, "probability: .*not in 0..1"),
        ({"spacing": (1, 0, 1)}, r"spacing: \(1, 0, 1\)"),
        ({"spacing": (1, float("inf"), 1)}, "spacing: .*inf"),
        ({"spacing": (1, 1)}, r"spacing: \(1, 1\)"),
        ({"intensity": "HU"}, "intensity: 'HU'"),
    ],
)
def test_what_is_no_scan_is_refused(scan, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "scan.html", scan, **changes)
    assert list(tmp_path.iterdir()) == []
