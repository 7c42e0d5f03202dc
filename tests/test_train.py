"""The command line: mistakes get one sentence that helps, and no traceback."""

import subprocess
import sys

import pytest

from tests.train_command import ROOT, train_py


def run(*arguments):
    """Runs train.py as users do."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config=configs/c2f.py", "--config.modl.width=3"], "nearest is --config.model.width"),
        (["--config", "configs/c2f.py", "--config.model.widht=3"], "--config.model.width"),
        (["--config=configs/c2f.py:data=lung_phantm"], "did you mean 'lung_phantom'?"),
        (["--config=configs/nowhere.py"], "no configuration file 'configs/nowhere.py'"),
        (
            ["--config=configs/c2f.py", "--config.model.width=abc"],
            "expected a value like 64",
        ),
        (["--config=configs/c2f.py", "--config.data.test", "--seeds=2"], "data.test=VALUE"),
        (["--config=configs/c2f.py", "--wrkdir=x"], "Unknown command line flag 'wrkdir'"),
        (["--config=configs/c2f.py", "--seeds=0"], "flag --seeds=0"),
        ([], "Give --config=configs/c2f.py"),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_sentence(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("train.py: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def missing_data(data, folder):
    """The arguments of a run on data that are not there."""
    return (
        f"--config=configs/quickstart.py:data={data}",
        f"--config.data.source={folder / 'nothing_here'}",
        f"--config.data.data_dir={folder}",
        f"--workdir={folder / 'run'}",
    )


def check_missing_data(status, said, folder, layout):
    assert status == 1
    assert str(folder / "nothing_here") in said
    assert "python train.py --config=configs/quickstart.py" in said
    assert "Traceback" not in said
    assert layout in said


def test_missing_data_names_the_folder_the_layout_and_a_way_out(tmp_path):
    done = run(*missing_data("slice_folder", tmp_path))
    check_missing_data(done.returncode, done.stderr, tmp_path, "train/image")


# absl loads a configuration in a way that Python will drop.
in_this_process = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@in_this_process
def test_missing_published_data_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = train_py(monkeypatch, *missing_data("covid_semiseg", tmp_path))
    check_missing_data(status, capsys.readouterr().err, tmp_path, "TrainingSet")


@in_this_process
def test_a_field_born_empty_can_be_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = train_py(
        monkeypatch,
        "--config=configs/quickstart.py",
        "--config.data.config=tiny",
        "--config.model.width=4",
        "--config.data.size=(32, 32)",
        "--config.batch_size=4",
        f"--config.init={tmp_path / 'no_run'}",
        f"--config.data.data_dir={tmp_path}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert status == 1
    said = capsys.readouterr().err
    assert f"no checkpoints in {tmp_path / 'no_run' / 'checkpoints'}" in said
    assert "Traceback" not in said


@in_this_process
def test_heads_can_have_a_factor_each(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = train_py(
        monkeypatch,
        "--config=configs/quickstart.py",
        "--config.loss.zeta=1",
        "--config.loss.zeta",
        "(1, 0.5, 0.25)",
        "--config.data.config=tiny",
        f"--config.data.data_dir={tmp_path}",
        "--dry_run",
    )
    assert status == 1
    said = capsys.readouterr().err
    assert "loss.zeta is (1.0, 0.5, 0.25), but the network has 2 such heads" in said
