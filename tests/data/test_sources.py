"""What a dataset is built of decides which dataset it is; paths and times do not."""

import os
import shutil

import pytest

from cosup_jax.data import datasets
from cosup_jax.data.builder import DatasetLayoutError
from tests.dummy import write

# One builder each of volumes, of stacks of slices, of pictures and of two sources together.
PUBLISHED = {
    "mosmed_covid19": "COVID19_1110/masks/study_0255_mask.nii.gz",
    "covid_semiseg": "",
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request, tmp_path_factory):
    """A dataset's name, its source, a file of it that matters, and where it lies built."""
    root = tmp_path_factory.mktemp(request.param)
    write.write(request.param, root / "source")
    builder = datasets.make_builder(request.param, data_dir=str(root / "tfds"))
    datasets.prepare(builder, str(root / "source"))
    matters = PUBLISHED[request.param] or next(
        path.relative_to(root / "source").as_posix()
        for path in sorted((root / "source").rglob("*.png"))
    )
    return request.param, root / "source", matters, root / "tfds"


def again(published, source):
    name, _, _, data_dir = published
    builder = datasets.make_builder(name, source=str(source), data_dir=str(data_dir))
    datasets.prepare(builder, str(source))
    return builder


def test_the_same_files_elsewhere_are_the_same_dataset(published, tmp_path):
    copied = shutil.copytree(published[1], tmp_path / "copy")
    for path in copied.rglob("*"):
        os.utime(path, ns=(0, 0))
    (copied / "readme.txt").write_text("not read by a build")
    (tmp_path / "link").symlink_to(copied)
    first = again(published, published[1])
    for place in (copied, tmp_path / "link", f"{copied}/."):
        assert again(published, place).info.full_name == first.info.full_name
    again(published, "")  # as it is


@pytest.mark.parametrize("change", ["bytes", "removed", "nowhere"])
def test_another_folder_is_not_passed_off_as_the_one_named(published, change, tmp_path):
    copied = shutil.copytree(published[1], tmp_path / "copy")
    path = copied / published[2]
    assert path.is_file()
    if change == "bytes":
        path.write_bytes(path.read_bytes() + b"x")
    elif change == "removed":
        path.unlink()
    else:
        shutil.rmtree(copied)
    with pytest.raises(DatasetLayoutError) as caught:
        again(published, copied)
    assert str(copied) in str(caught.value)


def test_what_an_earlier_version_built_is_said_to_be_of_unknown_files(published):
    builder = again(published, "")
    kept = builder.info.metadata.pop("source_digest")
    builder.check_source(published[1])
    assert "built by an earlier version" in datasets.describe(builder)
    builder.info.metadata["source_digest"] = kept
    assert "earlier version" not in datasets.describe(builder)


def test_a_folder_is_refused_by_a_dataset_that_takes_none(tmp_path):
    with pytest.raises(ValueError, match=r"'lung_phantom' is made without files.*mine"):
        datasets.make_builder("lung_phantom", source=str(tmp_path / "mine"))


def test_mask_values_are_refused_where_nothing_reads_them(tmp_path):
    for name in ("lung_phantom", "mosmed_covid19", "slice_folder"):
        with pytest.raises(ValueError, match=r"mask_values='0:0,1:1' is for a folder of your own"):
            datasets.make_builder(name, mask_values="0:0,1:1")


@pytest.mark.parametrize("text", ["0:0,255:1,255:0", "0:0,1:1,01:1", "1:1,1:1"])
def test_a_mask_value_that_stands_twice_is_refused(text):
    with pytest.raises(ValueError, match="stands there twice"):
        datasets.parse_mask_values(text)


def test_mask_values_without_infection_are_refused():
    with pytest.raises(ValueError, match="'0:0,255:0': no value is infection"):
        datasets.parse_mask_values("0:0,255:0")
