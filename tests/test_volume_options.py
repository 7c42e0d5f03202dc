"""The options of volumes of one's own: where scans lie is no choice, and is found from anywhere."""

from pathlib import Path

import pytest

from cosup_jax import volume_options


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("", "fold=0", True),
        ("masks=corrected", "scans=moved , masks = corrected", True),
        ("hu_offset=-1024", "hu_offset=-1024.0", True),
        ("", "hu_offset=0", False),
        ("masks=corrected", "scans=moved", False),
        ("", "tiny", False),
        ("tiny", "tiny", True),
    ],
)
def test_options_are_compared_by_what_they_choose(one, other, same):
    assert (volume_options.meaning(one) == volume_options.meaning(other)) is same


@pytest.mark.parametrize("text", ["", "tiny", "masks=corrected,fold=1", "scans=,fold=1"])
def test_options_without_scans_stay_as_they_are(text):
    assert volume_options.from_anywhere(text) == text


def test_scans_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert volume_options.from_anywhere("fold=1, scans = a") == f"fold=1,scans={tmp_path}/a"
    assert volume_options.from_anywhere("scans=~") == f"scans={Path.home()}"
    assert volume_options.without_scans("scans=a,fold=1") == "fold=1"


def test_a_folder_with_a_comma_in_its_path_stays_as_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path / "a,b")
    assert volume_options.from_anywhere("scans=c") == "scans=c"
