"""The user's own slices: what is read from a folder, and that no two are confused."""

import fcntl
import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cosup_jax.data import datasets, schema
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.splits import PatientOverlapError
from tests.data.builder_conformance import build, check_builder, read_all, stored_bytes
from tests.data.slice_folders import (
    SHAPE,
    add,
    built,
    draw,
    make,
    picture,
    save,
    square,
    write_index,
)
from tfds_builders.slice_folder.slice_folder_dataset_builder import (
    Builder,
    SliceFolderConfig,
    folder_config,
)


@pytest.fixture
def folder(tmp_path):
    return draw(tmp_path / "mine")


def test_conforms(folder, tmp_path):
    for z in (0, 1):
        add(folder, "test", f"d_{z}", seed=z)
    expected = {"train": 4, "validation": 2, "test": 2}
    builder = check_builder(make(folder), tmp_path, expected, classes=(0, 1))
    assert builder.info.metadata["patients"]["train"] == ["a", "b"]
    example = read_all(builder, "train")["b", 4]
    np.testing.assert_array_equal(example["image"][..., 0], picture(14))
    np.testing.assert_array_equal(example["mask"][..., 0], square(1))
    assert example["patient_id"] == b"b"
    assert schema.intensity_name(example["intensity"]) == "grey8"
    assert not example["has_lung"]


def test_without_a_test_split_none_is_made(folder, tmp_path):
    (folder / "val").rename(folder / "validation")
    assert set(built(folder, tmp_path).info.splits) == {"train", "validation"}


def test_16_bit_tiff_is_stored_without_loss(folder, tmp_path):
    values = picture(1, np.uint16)
    values[0, :2] = 0, 65535
    (folder / "train/image/a_003.png").unlink()
    save(folder / "train/image/a_003.tiff", values)
    example = read_all(built(folder, tmp_path), "train")["a", 3]
    assert schema.intensity_name(example["intensity"]) == "grey16"
    np.testing.assert_array_equal(schema.true_values(example)[..., 0], values)


def test_declared_classes_palettes_and_lungs(folder, tmp_path):
    for path in folder.glob("*/mask/*"):
        mask = Image.fromarray(square(3))
        mask.putpalette([0, 0, 0] * 256)
        mask.save(path)
        save(folder / path.parts[-3] / "lung" / path.name, square())
    builder = built(folder, tmp_path, mask_values={0: 0, 3: 2})
    example = read_all(builder, "train")["a", 3]
    np.testing.assert_array_equal(example["mask"][..., 0], square(2))
    np.testing.assert_array_equal(example["lung"][..., 0], square(1))
    assert example["has_lung"]


def test_an_index_says_who_is_on_which_slice(folder, tmp_path):
    write_index(
        folder,
        "\ufefffile,note,case,patient,slice\na_003.png,x,s1,p1,7\na_004.png,,s2,p1,\n"
        "b_003.png,,,,\nb_004.png,,, ,2\n",
    )
    builder = built(folder, tmp_path)
    assert set(read_all(builder, "train")) == {("s1", 7), ("s2", 4), ("b", 3), ("b", 2)}
    assert builder.info.metadata["patients"]["train"] == ["", "p1"]


@pytest.mark.parametrize("column", ["", "patient_id", "subject"])
def test_an_index_without_patients_says_who_passes_for_one(folder, tmp_path, caplog, column):
    rows = [f"{case}_{z:03d}.png" for case in "ab" for z in (3, 4)]
    lines = [f"file,{column}", *(f"{row},p" for row in rows)] if column else ["file", *rows]
    write_index(folder, "\n".join(lines))
    assert built(folder, tmp_path).info.metadata["patients"]["train"] == ["a", "b"]
    said = "train_index.csv: no column `patient`, so each case is taken for a patient of its own"
    assert caplog.text.count(said) == 1
    assert (f"train_index.csv: the columns '{column}' are not read" in caplog.text) == bool(column)


@pytest.mark.parametrize("name", ["lungs", "Lung", "mask_old"])
def test_folders_of_a_split_that_are_not_read_are_named(folder, tmp_path, caplog, name):
    for z in (3, 4):
        save(folder / "train" / name / f"a_{z:03d}.png", square(1))
    builder = built(folder, tmp_path)
    assert not any(example["has_lung"] for example in read_all(builder, "train").values())
    assert caplog.text.count(f"train: {name!r} are not read, only image, mask, lung") == 1
    assert "val: " not in caplog.text


def test_other_names_are_cases_of_unknown_patients(folder, tmp_path, caplog):
    add(folder, "train", "thorax")
    builder = built(folder, tmp_path)
    assert read_all(builder, "train")["thorax", 0]["patient_id"] == b""
    assert "" in builder.info.metadata["patients"]["train"]
    assert "1 of 5 files of train are not named <case>_<slice>" in caplog.text
    assert "taken for a patient of its own" in caplog.text
    assert "nobody can say that no patient" in caplog.text


def test_desktop_droppings_are_no_slices(folder, tmp_path):
    for name in (".DS_Store", "Thumbs.db"):
        (folder / "train/image" / name).write_bytes(b"x")
    assert built(folder, tmp_path).info.splits["train"].num_examples == 4


def test_a_missing_folder_names_place_layout_and_the_command_that_needs_none(tmp_path):
    for attempt in (
        lambda: folder_config(tmp_path / "nowhere"),
        lambda: build(
            lambda d: Builder(data_dir=d, file_format="array_record"),
            tmp_path / "data",
            tmp_path / "nowhere",
        ),
    ):
        with pytest.raises(DatasetLayoutError) as caught:
            attempt()
        message = str(caught.value)
        assert str(tmp_path / "nowhere") in message
        assert "train/image/<case>_<slice>.png" in message
        assert "python train.py --config=configs/quickstart.py" in message


def test_the_default_configuration_reads_manual_dir(folder, tmp_path):
    def default(data_dir):
        return Builder(data_dir=data_dir, file_format="array_record")

    builder = build(default, tmp_path / "data", folder)
    assert builder.info.full_name == "slice_folder/default/1.0.0"
    assert builder.info.splits["train"].num_examples == 4
    build(default, tmp_path / "data", folder)  # the same folder again is simply there
    other = shutil.copytree(folder, tmp_path / "other")
    add(other, "train", "new_001")
    with pytest.raises(DatasetLayoutError, match=r"was built of other files than .*other holds"):
        build(default, tmp_path / "data", other)


def test_two_folders_or_a_changed_one_are_never_confused(folder, tmp_path):
    before = folder_config(folder)
    assert before.name == folder_config(folder).name
    other = shutil.copytree(folder, tmp_path / "sub" / "mine")
    save(other / "train/image/a_003.png", np.zeros((40, 40), np.uint8))
    declared = folder_config(folder, mask_values={0: 0, 1: 1})
    names = {before.name, folder_config(other).name, declared.name}
    mask = folder / "train/mask/a_003.png"
    stat, content = mask.stat(), mask.read_bytes()
    mask.write_bytes(content[:-1] + b"!")  # as long as before, and as old
    os.utime(mask, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    names.add(folder_config(folder).name)
    write_index(folder, "file\na_003.png\na_004.png\nb_003.png\nb_004.png\n")
    names.add(folder_config(folder).name)
    assert len(names) == 5
    assert Builder.config_from_source(str(folder)).folder == str(folder)


def test_one_content_is_one_dataset_wherever_it_lies(folder, tmp_path):
    name = folder_config(folder).name
    os.utime(folder / "train/image/a_003.png", ns=(0, 0))
    (folder / "train/image/.DS_Store").write_bytes(b"x")
    (tmp_path / "link").symlink_to(folder)
    copied = shutil.copytree(folder, tmp_path / "ä (Kopie) für/CT")
    (copied / "val").rename(copied / "validation")
    spelled = (folder, f"{folder}/", tmp_path / "x/.." / folder.name, tmp_path / "link", copied)
    assert {folder_config(place).name for place in spelled} == {name}
    reordered = folder_config(folder, mask_values={255: 1, 0: 0})
    assert reordered.name == name
    assert tfds.core.naming.parse_builder_name_kwargs(f"slice_folder/{name}")[1] == {"config": name}


def test_names_in_two_unicode_forms_are_one_name(tmp_path):
    decomposed, composed = (unicodedata.normalize(form, "patiént") for form in ("NFD", "NFC"))
    for split, name in (("train", f"{decomposed}_001"), ("val", "v_001")):
        add(tmp_path / "in", split, name)
    mask = tmp_path / f"in/train/mask/{decomposed}_001.png"
    mask.rename(mask.with_name(f"{composed}_001.png"))
    write_index(tmp_path / "in", f"file,patient\n{composed}_001.png, {decomposed} \n")
    (example,) = read_all(built(tmp_path / "in", tmp_path), "train").values()
    assert example["case_id"].decode() == example["patient_id"].decode() == composed
    add(tmp_path / "in", "val", f"{composed}_002")
    with pytest.raises(PatientOverlapError, match=composed):
        built(tmp_path / "in", tmp_path)


def test_an_interrupted_build_leaves_nothing_to_read(folder, tmp_path, monkeypatch):
    read, calls = Builder.read_case, []

    def stop_in_the_middle(self, case):
        for example in read(self, case):
            calls.append(case)
            if len(calls) == 4:
                raise KeyboardInterrupt
            yield example

    with monkeypatch.context() as patch:
        patch.setattr(Builder, "read_case", stop_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            built(folder, tmp_path)
    assert len(calls) == 4
    fresh = make(folder)(tmp_path / "data")
    assert not fresh.is_prepared()
    again = built(folder, tmp_path)
    assert again.is_prepared()
    assert stored_bytes(again) == stored_bytes(build(make(folder), tmp_path / "clean"))


def test_what_a_killed_build_left_is_not_read(folder, tmp_path):
    builder = make(folder)(tmp_path / "data")
    version = Path(builder.data_dir)
    left = version.with_name(f"incomplete.ABC123_{version.name}")
    left.mkdir(parents=True)
    (left / "slice_folder-train.array_record-00000-of-00001").write_bytes(b"half")
    assert not make(folder)(tmp_path / "data").is_prepared()
    assert len(read_all(built(folder, tmp_path), "train")) == 4


@pytest.mark.parametrize("other", ["killed", "building", "building on another machine"])
def test_the_next_build_takes_away_what_killed_ones_left(other, folder, tmp_path):
    builder = make(folder)(tmp_path / "data")
    version, dataset = Path(builder.data_dir), tmp_path / "data" / builder.name
    half = version.with_name(f"incomplete.ABC123_{version.name}")
    text = dataset / ".config" / f"incomplete.{'0a' * 16}.metadata.json"
    lock = dataset / "slices-of-others" / ".1.0.0.lock"
    for path in (half / "half", text, lock):
        path.parent.mkdir(parents=True)
        path.touch()
    with lock.open() as file:
        if other == "building":
            fcntl.flock(file, fcntl.LOCK_EX)
        elif other != "killed":
            lock.write_text(json.dumps({"machine": "another kernel"}))
        datasets.prepare(builder, str(folder))
    assert not half.exists()
    assert text.exists() == (other != "killed")
    assert (dataset / ".config" / "metadata.json").exists()


def test_the_configuration_can_be_written_out(folder, tmp_path):
    config = SliceFolderConfig(name="mine", version=Builder.VERSION, folder=str(folder))
    builder = Builder(config=config, data_dir=tmp_path / "data", file_format="array_record")
    builder.download_and_prepare()
    assert builder.info.splits["validation"].num_examples == 2


def test_the_real_slices_are_listed_as_their_index_says(tmp_path):
    default = Path(__file__).parents[3] / "shared" / "data"
    source = Path(os.environ.get("COSUP_REAL_DATA", default)) / "covid_ct_seg_slices"
    if not source.is_dir():
        pytest.skip(f"real slices are not at {source}; set COSUP_REAL_DATA to their parent")
    builder = Builder(config=folder_config(source), data_dir=tmp_path)
    cases = builder.cases(None)
    count = {name: sum(len(c.source) for c in group) for name, group in cases.items()}
    assert count == {"train": 1042, "validation": 257}
    assert {c.patient_id for c in cases["train"] if c.case_id.startswith("radiopaedia_10")} == {
        "rad10"
    }
    example = next(builder.read_case(cases["validation"][0]))
    assert example["image"].shape == (256, 256, 1)
    assert example["has_lung"]


def test_slices_without_a_picture_may_be_the_same_in_two_splits(folder, tmp_path):
    for split, name in (("train", "a_005"), ("val", "c_005")):
        add(folder, split, name)
        save(folder / split / "image" / f"{name}.png", np.zeros(SHAPE, np.uint8))
    assert len(read_all(built(folder, tmp_path), "validation")) == 3
