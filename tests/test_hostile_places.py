"""Every command where it cannot write, or what it reads is damaged: one sentence, no traceback."""

import errno
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cosup_jax import cli, runs, weights
from cosup_jax import config as configuration
from cosup_jax.data import datasets
from cosup_jax.data.records import DamagedDatasetError
from cosup_jax.evaluation import gallery, pictures, scoring
from cosup_jax.prediction import cohort, export
from tests.file_layer import refuse
from tests.phantoms import CONFIGS
from tests.prediction.scan_files import Brightest, scan_file
from tests.train_command import train_py
from tfds_builders.__main__ import main as builders_main

QUICKSTART = f"--config={CONFIGS / 'quickstart.py'}"
# absl loads a configuration in a way that Python will drop.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(scope="module")
def inputs(tiny_run, tmp_path_factory):
    """What the commands read: the tiny run, saved maps with their truths, weights."""
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("maps", "truths"):
        (folder / name).mkdir()
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(folder / name / "a_1.png")
    weights.save(folder / "own.safetensors", runs.open_run(tiny_run), {})
    scan_file(folder / "scan.nii")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Networks and programs are not compiled: where they write is the subject."""
    guess = lambda *args, **kwargs: lambda x: np.full(x.shape[:3], 0.7, np.float32)  # noqa: E731
    monkeypatch.setattr(scoring.predictor, "make_predictor", guess)
    monkeypatch.setattr(cohort, "Segmenter", Brightest)
    monkeypatch.setattr(export, "serialise", lambda *args: b"program")
    for module in (pictures, gallery.pictures):
        for name in ("fusion", "stages"):
            monkeypatch.setattr(module, name, lambda *args: None)


def tiny_fields(tiny_run):
    fields = {"data.config": "tiny", "data.data_dir": tiny_run.parent / "tfds", "epochs": 2}
    fields |= {"data.size": (32, 32), "model.width": 4, "batch_size": 4}
    return [f"--config.{name}={value}" for name, value in fields.items()]


# name → the arguments, given what there is to read; OUT is where it writes.
COMMANDS = {
    "evaluate a run": lambda i, run: ["evaluate", "--workdir", run, "--out", "OUT"],
    "evaluate and keep": lambda i, run: [
        *("evaluate", "--workdir", run, "--save_predictions", "--out", "OUT"),
    ],
    "evaluate maps": lambda i, run: [
        *("evaluate", "--predictions", i / "maps", "--truth", i / "truths", "--out", "OUT"),
    ],
    "compare": lambda i, run: ["compare", run, "--out", "OUT"],
    "figures": lambda i, run: ["figures", "--workdir", run, "--out", "OUT"],
    "export": lambda i, run: ["export", "--workdir", run, "--out", "OUT/x.stablehlo"],
    "export_weights": lambda i, run: [
        *("export_weights", "--workdir", run, "--out", "OUT/x.safetensors"),
    ],
    "convert": lambda i, run: [
        *("convert", i / "own.safetensors", "--config", CONFIGS / "quickstart.py"),
        *("--workdir", "OUT", *tiny_fields(run)),
    ],
    "experiment": lambda i, run: [
        *("experiment", "table3", "--rows", "c2f", "--seeds", "1", "--data", "lung_phantom"),
        *("--configs", CONFIGS, "--out", "OUT", *tiny_fields(run)),
        "--config.model.blocks=(1,1,1,1)",
    ],
    "build": lambda i, run: ["build", "lung_phantom", "--config", "tiny", "--data_dir", "OUT"],
    "show": lambda i, run: [
        *("show", "lung_phantom", "--config", "tiny", "--data_dir", run.parent / "tfds"),
        *("--out", "OUT/x.png"),
    ],
    "predict": lambda i, run: ["predict", i / "scan.nii", "--weights", run, "--out", "OUT"],
    "train": lambda i, run: ["train", "--workdir=OUT", *tiny_fields(run)],
    "train on": lambda i, run: [
        *("train", "--workdir=OUT", f"--config.init={run}", *tiny_fields(run)),
    ],
    "train semi-supervised": lambda i, run: [
        *("train", "--workdir=OUT", "--config.data.train=train[:5]", "--config.semi.per_round=3"),
        *("--config.semi.unlabelled=train[5:]", "--config.semi.pretrain_batch_size=4"),
        *tiny_fields(run),
    ],
}


def full(place, monkeypatch):
    refuse(monkeypatch, place.parent, errno.ENOSPC)
    return "the disk is full"


def read_only(place, monkeypatch):
    refuse(monkeypatch, place.parent, errno.EROFS)
    return "can only be read"


def file_for_a_folder(place, monkeypatch):
    place.write_text("in the way")
    return ""


def file_above(place, monkeypatch):
    shutil.rmtree(place.parent)
    place.parent.write_text("in the way")
    return ""


PLACES = (full, read_only, file_for_a_folder, file_above)


def run(command, monkeypatch):
    if command[0] == "train":
        return train_py(monkeypatch, QUICKSTART, *command[1:])
    return (builders_main if command[0] in ("build", "show") else cli.main)(command)


def check_sentence(status, said, names):
    assert status == 1
    assert "Traceback" not in said
    assert "should not happen" not in said
    last = said.strip().splitlines()[-1]
    assert "cosup_jax" in last or "train.py" in last or "tfds_builders" in last
    assert all(name in said for name in names), said


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_where_a_command_cannot_write_it_says_so(
    name, place, inputs, tiny_run, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "place" / "out"
    out.parent.mkdir()
    command = [str(word).replace("OUT", str(out)) for word in COMMANDS[name](inputs, tiny_run)]
    told = place(out, monkeypatch)
    check_sentence(run(command, monkeypatch), capsys.readouterr().err, [str(out.parent), told])


# What is in the way of the first file that a command writes.
IN_THE_WAY = {
    "evaluate maps": "per_slice.csv",
    "compare": "comparison.md",
    "export": "x.stablehlo",
    "export_weights": "x.safetensors",
    "convert": "config.json",
    "show": "x.png",
    "predict": "cohort.csv",
    "train": "data.json",
    "train semi-supervised": "labelled/data.json",
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_folder_in_the_way_of_a_file_is_named(
    name, inputs, tiny_run, tmp_path, monkeypatch, capsys
):
    (tmp_path / "out" / IN_THE_WAY[name]).mkdir(parents=True)
    words = COMMANDS[name](inputs, tiny_run)
    command = [str(word).replace("OUT", str(tmp_path / "out")) for word in words]
    check_sentence(run(command, monkeypatch), capsys.readouterr().err, [IN_THE_WAY[name]])


def damaged(name, content):
    def spoil(folder):
        (folder / name).write_bytes(content)

    return spoil


def typed(**fields):
    def spoil(folder):
        config = json.loads((folder / "config.json").read_text())
        for field, value in fields.items():
            group, _, name = field.partition("__")
            config[group][name] = value
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


RUN_FILES = {
    "config empty": damaged("config.json", b""),
    "config cut": damaged("config.json", b'{"model": {'),
    "config a list": damaged("config.json", b"[]"),
    "config deep": damaged("config.json", b"[" * 200_000),
    "config no text": damaged("config.json", b"\xff\xfe\x00"),
    "config of other types": typed(model__edge_levels=["x", 1]),
    "config of another network": typed(model__name="nothing"),
    "config without size": typed(data__size=None),
    "no checkpoints": lambda folder: shutil.rmtree(folder / "checkpoints"),
}
# All that read a run's configuration; "train" goes on in it.
READERS = ("evaluate a run", "export", "export_weights", "figures", "predict")


@pytest.mark.parametrize("kind", RUN_FILES)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_run_is_named(name, kind, inputs, tiny_run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    RUN_FILES[kind](folder)
    command = [str(w).replace("OUT", str(tmp_path / "out")) for w in COMMANDS[name](inputs, folder)]
    check_sentence(run(command, monkeypatch), capsys.readouterr().err, [str(folder)])


DATA_FILES = (
    *(b"", b"[]", b"{", b'{"trained_on": []}', b'{"trained_on": 3}', b'{"dataset": 3}'),
    *(b'{"splits": "train"}', b'{"selected_on": {"dataset": "d/1", "patients": [["p1"]]}}'),
)


@pytest.mark.parametrize("content", DATA_FILES)
def test_a_damaged_data_json_is_named(content, inputs, tiny_run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    damaged("data.json", content)(folder)
    said = run(["evaluate", "--workdir", str(folder), "--out", str(tmp_path / "o")], monkeypatch)
    check_sentence(said, capsys.readouterr().err, [str(folder / "data.json")])


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"x" * 100, b'{"protocol": 3}'])
def test_a_damaged_evaluation_is_named(content, tiny_run, tmp_path, monkeypatch, capsys):
    shutil.copytree(tiny_run / "evaluation", tmp_path / "evaluation")
    damaged("evaluation/summary.json", content)(tmp_path)
    check_sentence(
        run(["compare", str(tmp_path)], monkeypatch), capsys.readouterr().err, [str(tmp_path)]
    )


@pytest.mark.parametrize("content", ["x = ", "import nothing_of_this_name", "1 / 0", "a = 1"])
def test_a_configuration_that_does_not_run_is_named(content, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(configuration.ConfigError, match=r"mine\.py"):
        configuration.load(str(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("dataset_info.json", content) for content in (b"", b"[]", b'{"name": 3}', b"\xff")),
        *(("metadata.json", content) for content in (b"", b"[]", b'{"patients": 3}', b"\xff")),
        ("metadata.json", None),
    ],
)
def test_a_damaged_description_of_a_dataset_is_named(name, content, tiny_run, tmp_path):
    data_dir = shutil.copytree(tiny_run.parent / "tfds", tmp_path / "tfds")
    (path,) = data_dir.rglob(f"tiny/*/{name}")
    path.unlink() if content is None else path.write_bytes(content)
    check_it_is_refused(data_dir)


@pytest.mark.parametrize("changed", [{"name": ""}, {"splits": []}, {"version": "2.0"}])
def test_a_description_with_an_empty_part_is_named(changed, tiny_run, tmp_path):
    data_dir = shutil.copytree(tiny_run.parent / "tfds", tmp_path / "tfds")
    (path,) = data_dir.rglob("tiny/*/dataset_info.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    check_it_is_refused(data_dir)


def check_it_is_refused(data_dir):
    with pytest.raises(DamagedDatasetError, match=f"{data_dir}.* damaged.* is built again"):
        datasets.prepare(
            datasets.make_builder("lung_phantom", config="tiny", data_dir=str(data_dir))
        )


# What else a command reads: the file that is damaged, in a copy of the inputs, and what is said.
OTHER_INPUTS = {
    "evaluate maps": ("maps/a_1.png", "maps/a_1.png"),
    "convert": ("own.safetensors", "own.safetensors"),
    "predict": ("scan.nii", "1 failed"),
}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"[" * 100_000])
@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_a_damaged_input_is_named(name, content, inputs, tiny_run, tmp_path, monkeypatch, capsys):
    folder, (file, told) = shutil.copytree(inputs, tmp_path / "in"), OTHER_INPUTS[name]
    (folder / file).write_bytes(content)
    words = COMMANDS[name](folder, tiny_run)
    status = run([str(w).replace("OUT", str(tmp_path / "out")) for w in words], monkeypatch)
    said = capsys.readouterr()
    assert status == 1
    assert "Traceback" not in said.err
    assert told in said.out + said.err


def test_a_damaged_dataset_is_named(tiny_run, inputs, tmp_path, monkeypatch, capsys):
    data_dir = shutil.copytree(tiny_run.parent / "tfds", tmp_path / "tfds")
    (record,) = data_dir.rglob("*-test.array_record*")
    record.write_bytes(record.read_bytes()[:-200])
    command = ["evaluate", "--workdir", str(tiny_run), "--out", str(tmp_path / "out")]
    status = run([*command, f"--config.data.data_dir={data_dir}"], monkeypatch)
    check_sentence(
        status, capsys.readouterr().err, [str(data_dir / "lung_phantom"), "split test is damaged"]
    )
