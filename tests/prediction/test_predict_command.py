"""What `python -m cosup_jax predict` says and how it ends; nothing is computed by a network."""

import logging as standard_logging

import pytest

from cosup_jax import cli, weights
from cosup_jax.prediction import cohort
from tests.prediction.scan_files import NETWORK, Brightest, dicom_folder, folders, scan_file


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    monkeypatch.setattr(weights, "load_pretrained", lambda name: NETWORK)


def predict(*given):
    return cli.main(["predict", *map(str, given)])


def test_the_last_line_sums_up(tmp_path, capsys):
    out = tmp_path / "out"
    scan_file(tmp_path / "in" / "a.nii")
    (tmp_path / "in" / "bad.nii").write_bytes(b"nothing")
    (tmp_path / "in" / "read.me").write_text("nothing")
    assert predict(tmp_path / "in", "--out", out) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 of 2 scans done, 1 failed, 1 ")
    assert last.endswith(str(out / "cohort.csv"))
    (tmp_path / "in" / "bad.nii").unlink()
    assert predict(tmp_path / "in", "--out", out) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 of 1 scans done, 1 ")
    assert folders(out) == ["a", "bad"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--threshold", "2"],
        ["--threshold", "nan"],
        ["--threshold", "half"],
        ["--format", "nrrd"],
        ["--hu-offset", "x"],
        ["--no-such-option"],
        ["--config.epochs=3"],
    ],
)
def test_a_wrong_command_line_ends_with_2_before_any_work(tmp_path, capsys, wrong):
    path = scan_file(tmp_path / "a.nii")
    with pytest.raises(SystemExit) as end:
        predict(path, "--out", tmp_path / "out", *wrong)
    assert end.value.code == 2
    assert wrong[0].partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_where_it_failed_is_shown_where_it_is_asked_for(tmp_path, monkeypatch, capsys, caplog):
    def broken(*given, **more):
        raise TypeError("here it is")

    monkeypatch.setattr(Brightest, "labelled", broken)
    path = scan_file(tmp_path / "a.nii")
    logger = standard_logging.getLogger("absl")
    level = logger.level
    try:
        for options in ([], ["--debug"]):
            assert predict(path, "--out", tmp_path / "out", *options) == 1
            said = "".join(capsys.readouterr()) + caplog.text
            assert "here it is" in said
            assert ("Traceback" in said) == bool(options)
    finally:
        logger.setLevel(level)


def test_the_terminal_says_which_folder_a_pseudonym_is(tmp_path, capsys):
    dicom_folder(tmp_path / "Doeringer^Janette")
    assert predict(tmp_path, "--out", tmp_path / "out") == 0
    (name,) = folders(tmp_path / "out")
    assert f"{tmp_path / 'Doeringer^Janette'} is {name}" in capsys.readouterr().out
    assert predict(tmp_path, "--out", tmp_path / "named", "--identify") == 0
    assert folders(tmp_path / "named") == ["Doeringer_Janette"]
