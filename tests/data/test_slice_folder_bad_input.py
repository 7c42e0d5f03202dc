"""One row per kind of bad input to `slice_folder`: the message names the file and what it wants."""

import os
import shutil
import sys

import numpy as np
import pytest

from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.data.schema import ExampleError
from cosup_jax.data.splits import PatientOverlapError
from cosup_jax.scans.images import ImageError
from tests.data.slice_folders import add, built, draw, picture, save, square, write_index
from tfds_builders.slice_folder.slice_folder_dataset_builder import folder_config


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace(name, array):
    return lambda folder: save(folder / name, array)


def truncate(name):
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


def index(text, split="train"):
    return lambda folder: write_index(folder, text, split)


def empty(name):
    def damage(folder):
        for path in (folder / name).iterdir():
            path.unlink()

    return damage


def link_outside(folder):
    outside = save(folder.parent / "secret.png", picture(0))
    (folder / "train/image/a_003.png").unlink()
    (folder / "train/image/a_003.png").symlink_to(outside)


def link_split_outside(folder):
    shutil.move(folder / "train", folder.parent / "elsewhere")
    (folder / "train").symlink_to(folder.parent / "elsewhere")


def dangling(folder):
    (folder / "train/image/z_001.png").symlink_to(folder / "nothing.png")


def pipe(folder):
    os.mkfifo(folder / "train/image/z_001.png")


ROWS = "a_003.png\na_004.png\nb_003.png\nb_004.png\n"
BAD = {
    "image without mask": (remove("train/mask/a_003.png"), "a_003.png: no a_003.png or .tif in"),
    "mask without image": (remove("train/image/b_004.png"), "mask/b_004.png: no image of this"),
    "lung for some only": (
        replace("train/lung/a_003.png", square()),
        "a_004.png: no a_004.png or .tif in",
    ),
    "mask of another size": (
        replace("train/mask/a_003.png", np.zeros((5, 10), np.uint8)),
        "mask/a_003.png: 10 x 5 pixels, but its image",
    ),
    "lung of another value": (
        lambda f: [save(f / "val/lung" / f"c_00{z}.png", square(9)) for z in (3, 4)],
        "lung/c_003.png: the mask holds 1 undeclared value(s): 9 (9 px)",
    ),
    "truncated image": (truncate("train/image/a_003.png"), "a_003.png: unreadable or truncated"),
    "truncated mask": (truncate("val/mask/c_004.png"), "c_004.png: unreadable or truncated"),
    "undeclared mask values": (
        replace("train/mask/a_003.png", square(128)),
        "a_003.png: the mask holds 1 undeclared value(s): 128 (9 px); expected only [0, 255]",
    ),
    "jpeg mask": (
        lambda f: (f / "train/mask/a_003.png").rename(f / "train/mask/a_003.jpg"),
        "mask/a_003.jpg: a mask cannot be a JPEG",
    ),
    "no picture": (
        lambda f: (f / "train/image/notes.txt").write_text("x"),
        "notes.txt: not a slice; expected only files of",
    ),
    "folder of masks missing": (
        lambda f: shutil.rmtree(f / "train/mask"),
        "train/mask: no such folder",
    ),
    "empty split": (empty("val/image"), "the split 'val' is empty"),
    "no validation": (lambda f: shutil.rmtree(f / "val"), "for val/image, and there is none"),
    "two validations": (
        lambda f: shutil.copytree(f / "val", f / "validation"),
        "validation: expected only one of the two",
    ),
    "mistyped split": (
        lambda f: shutil.copytree(f / "val", f / "testing"),
        "testing: a split of another name; expected train, val or test",
    ),
    "images of a split under another name": (
        lambda f: save(f / "test/images/t_001.png", picture(1)),
        "test: no folder `image` in it; expected one, or no such split",
    ),
    "the same with a capital": (
        lambda f: save(f / "Test/Image/t_001.png", picture(1)),
        "Test: no folder `image` in it",
    ),
    "second validation without images": (
        lambda f: (f / "validation").mkdir(),
        "validation: no folder `image` in it",
    ),
    "two extensions": (
        replace("train/image/a_003.tif", picture(1)),
        "a_003.tif: has the name of a_003.png; expected one file per slice",
    ),
    "one slice twice": (
        lambda f: add(f, "train", "a_3"),
        "a_3.png: case 'a', slice 3, as",
    ),
    **{
        f"index at {place}": (
            lambda f, place=place: (f / place).write_text("file,patient\na_003.png,p\n"),
            f"{place}: looks like an index, and is not read; expected one for each split, "
            "train_index.csv, val_index.csv in mine",
        )
        for place in ("index.csv", "train/train_index.csv", "Index_train.txt", "val/index.CSV")
    },
    "picture in two splits": (
        lambda f: [
            shutil.copy(f / "train" / kind / "a_003.png", f / "val" / kind / "z_009.png")
            for kind in ("image", "mask")
        ],
        "val/image/z_009.png is the picture",
    ),
    "index of no split": (index("file\nx", "test"), "test_index.csv: no split 'test' here"),
    "index without file": (
        index("datei;fall\na_003.png;1\n"),
        "train_index.csv: the columns are ['datei;fall']; expected `file`",
    ),
    **{
        f"index with {name!r} for {meant!r}": (
            index(f"file,{name}\n" + ROWS.replace("\n", ",p\n")),
            f"train_index.csv: has the column {name!r}; expected it to be called {meant!r}",
        )
        for name, meant in (("Patient", "patient"), ("PATIENT", "patient"), ("Case", "case"))
    },
    "index with capitals and blanks": (
        index("File , pa tient\n" + ROWS.replace("\n", ",p\n")),
        "has the column 'File'; expected it to be called 'file'",
    ),
    "index with another file": (
        index("file\n" + ROWS + "q_1.png\n"),
        "train_index.csv, row 6: file 'q_1.png' does not exist among the images",
    ),
    "index with a path": (
        index("file\n../val/image/c_003.png\n"),
        "row 2: file '../val/image/c_003.png'; expected a name without folders",
    ),
    "index with a gap": (index("file\n" + ROWS[:-10]), "no row for the image b_004.png"),
    "index with a file twice": (index("file\n" + ROWS + "a_003.png"), "row 6: file 'a_003.png' ag"),
    "index with a ragged row": (
        index("file,case\na_003.png\n"),
        "row 2: another number of cells; expected 2",
    ),
    "index with a bad slice": (
        index("file,slice\na_003.png,-1\n"),
        "row 2: slice '-1'; expected a whole number",
    ),
    "index in another encoding": (
        lambda f: (f / "train_index.csv").write_bytes(b"file,case\n\xe4_1.png,x\n"),
        "train_index.csv: 'utf-8' codec can't decode",
    ),
    "case of two patients": (
        index("file,patient\na_003.png,p\na_004.png,q\nb_003.png,r\nb_004.png,r\n"),
        "a_004.png: patient 'q', but other slices of case 'a' are of 'p'",
    ),
    "patient in two splits": (
        index("file,patient\na_003.png,p\na_004.png,p\nb_003.png,c\nb_004.png,c\n"),
        "1 patient(s) stand in both 'train' and 'validation': c.",
    ),
    "case in two splits": (
        lambda f: add(f, "val", "a_009"),
        "case 'a' stands in both 'train' and 'validation'",
    ),
    "link out of the folder": (link_outside, "a_003.png: a link to"),
    "split that is a link": (link_split_outside, "a_003.png: a link to"),
    "link to nothing": (dangling, "z_001.png: a link that leads nowhere"),
    "not a regular file": (pipe, "z_001.png: not a regular file"),
    "folder among images": (
        lambda f: (f / "train/image/more.png").mkdir(),
        "more.png: not a regular file",
    ),
}
ERRORS = (DatasetLayoutError, ImageError, PatientOverlapError)


@pytest.fixture
def folder(tmp_path):
    return draw(tmp_path / "mine")


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_input_is_refused_and_leaves_nothing(folder, tmp_path, kind):
    damage, message = BAD[kind]
    damage(folder)
    with pytest.raises(ERRORS) as caught:
        built(folder, tmp_path)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("data/**/*record*"))
    assert not list(tmp_path.glob("data/**/*incomplete*"))


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks hold names in UTF-8 only")
def test_a_name_that_is_no_text_is_told(folder, tmp_path):
    """As of `Müller` in Latin-1, which a zip of another system holds."""
    for kind in ("image", "mask"):
        place = os.fsencode(folder / "train" / kind)
        os.rename(place + b"/a_003.png", place + b"/m\xfcller_003.png")
    with pytest.raises(ExampleError, match=r"the name 'm\\udcfcller' is no UTF-8 text.* rename"):
        built(folder, tmp_path)


@pytest.mark.parametrize("values", [{0: 0, 255: 4}, {-1: 0}, {70000: 1}])
def test_impossible_mask_values_are_refused(folder, values):
    with pytest.raises(ValueError, match=r"expected values 0\.\.65535 and classes 0\.\.3"):
        folder_config(folder, mask_values=values)
