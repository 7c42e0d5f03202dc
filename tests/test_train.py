"""The command line: mistakes get one sentence that helps, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments):
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


def test_missing_data_names_the_folder_the_layout_and_a_way_out(tmp_path):
    missing = tmp_path / "nothing_here"
    for data in ("slice_folder", "covid_semiseg"):
        done = run(
            f"--config=configs/quickstart.py:data={data}",
            f"--config.data.source={missing}",
            f"--config.data.data_dir={tmp_path}",
            f"--workdir={tmp_path / 'run'}",
        )
        assert done.returncode == 1
        assert str(missing) in done.stderr
        assert "python train.py --config=configs/quickstart.py" in done.stderr
        assert "Traceback" not in done.stderr
        assert {"slice_folder": "train/image", "covid_semiseg": "TrainingSet"}[data] in done.stderr


def test_a_field_born_empty_can_be_set(tmp_path):
    done = run(
        "--config=configs/quickstart.py",
        "--config.data.config=tiny",
        "--config.model.width=4",
        "--config.data.size=(32, 32)",
        "--config.batch_size=4",
        f"--config.init={tmp_path / 'no_run'}",
        f"--config.data.data_dir={tmp_path}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert done.returncode == 1
    assert f"no checkpoints in {tmp_path / 'no_run' / 'checkpoints'}" in done.stderr
    assert "Traceback" not in done.stderr
