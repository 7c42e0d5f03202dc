"""`python -m tfds_builders build` and `show`."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tfds_builders
from cosup_jax.data import datasets
from tests.data import slice_folders
from tests.data.builder_conformance import stored_bytes
from tfds_builders.__main__ import main


def test_phantoms_are_built_once_and_then_shown(tmp_path, capsys):
    where = ["lung_phantom", "--config=tiny", f"--data_dir={tmp_path}"]
    assert main(["build", *where]) == 0
    said = capsys.readouterr().out
    assert "train              3         3      12        12" in said
    assert "skipped: 0 cases" in said
    assert f"MiB in {tmp_path}" in said
    assert main(["build", *where]) == 0
    assert "already built" in capsys.readouterr().out
    assert main(["show", *where, f"--out={tmp_path / 'new/sheet.png'}"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("infected share", "hu", "12 slices of train"))
    with Image.open(tmp_path / "new/sheet.png") as sheet:
        assert sheet.width == 8 * 160


def test_every_process_stores_the_same_bytes(tmp_path):
    command = ["build", "lung_phantom", "--config=tiny", "--data_dir"]
    assert main([*command, str(tmp_path / "here")]) == 0
    subprocess.run(
        [sys.executable, "-m", "tfds_builders", *command, tmp_path / "there"],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[1],
    )
    here, there = (
        stored_bytes(datasets.make_builder("lung_phantom", config="tiny", data_dir=str(folder)))
        for folder in (tmp_path / "here", tmp_path / "there")
    )
    assert here == there
    assert len(here) == 3


def test_bad_cases_are_refused_or_left_out_and_listed(tmp_path, capsys):
    folder = tmp_path / "mine"
    for split in ("train", "val"):
        for patient in "ab":
            slice_folders.add(folder, split, f"{split}-{patient}_0")
    broken = folder / "train" / "image" / "train-b_0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    command = ["build", "slice_folder", f"--manual_dir={folder}", f"--data_dir={tmp_path / 'out'}"]
    assert main(command) == 1
    assert f"{broken}: unreadable or truncated" in capsys.readouterr().err
    assert main([*command, "--skip_bad"]) == 0
    said = capsys.readouterr().out
    assert "train: 1 slices of 1 patients" in said
    assert "skipped: 1 cases\n  train-b: " in said
    assert str(broken) in said


def test_what_the_user_can_mend_is_said_without_a_traceback(tmp_path, capsys):
    places = [f"--manual_dir={tmp_path / 'none'}", f"--data_dir={tmp_path / 'out'}"]
    assert main(["build", "covid_semiseg", *places]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "none") in said
    assert "TrainingSet" in said
    phantoms = ["lung_phantom", f"--data_dir={tmp_path / 'out'}"]
    assert main(["build", *phantoms, "--config=huge"]) == 1
    assert "there are default, tiny" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["tests", "train[:x]", "train+", ""])
def test_a_split_that_is_not_there_lists_those_that_are(tmp_path, capsys, monkeypatch, split):
    monkeypatch.chdir(tmp_path)
    where = ["lung_phantom", "--config=tiny", f"--data_dir={tmp_path / 'out'}"]
    assert main(["show", *where, f"--split={split}"]) == 1
    said = capsys.readouterr().err
    assert f"lung_phantom/tiny/1.0.0 has no split {split!r}" in said
    assert "it has train, validation, test, parts such as test[:50%]" in said
    assert "damaged" not in said
    assert "remove" not in said
    assert not list(tmp_path.glob("*.png"))


def test_an_interrupted_build_leaves_no_half_of_it(tmp_path, capsys, monkeypatch):
    def interrupt(self, case):
        raise KeyboardInterrupt

    command = ["build", "lung_phantom", "--config=tiny", f"--data_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(tfds_builders.load_class("lung_phantom"), "read_case", interrupt)
        assert main(command) == 130
    assert "interrupted; nothing half-built is left" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*record*"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unknown_dataset_lists_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["build", "brats"])
    assert "lung_phantom" in capsys.readouterr().err


def test_beam_options_without_beam_say_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    command = ["build", "lung_phantom", "--config=tiny", f"--data_dir={tmp_path}"]
    assert main([*command, "--beam_pipeline_options=runner=DirectRunner"]) == 1
    assert "cosup-jax[beam]" in capsys.readouterr().err
