"""What the build and show commands say of a dataset, against counts made from its examples."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax.data import datasets, inspection, schema


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    builder = datasets.make_builder("lung_phantom", config="tiny", data_dir=str(folder))
    datasets.prepare(builder)
    return builder


def example(**changes):
    image = np.zeros((10, 10), np.int16)
    made = schema.make_example(image, intensity="hu", case_id="scan", **changes)
    return {k: v.encode() if k.endswith("_id") else v for k, v in made.items()} | {
        "intensity": schema.INTENSITIES.index("hu")
    }


def infected(pixels):
    mask = np.zeros(100, np.uint8)
    mask[:pixels] = 1
    return mask.reshape(10, 10)


def test_counts_are_those_of_the_examples(built):
    found = inspection.count(built, images=True)
    for split, contents in found.items():
        examples = list(built.as_data_source(split=split))
        values = np.stack([schema.true_values(e) for e in examples])
        assert contents.slices == contents.labelled == len(examples)
        assert contents.positive == sum(bool(e["mask"].any()) for e in examples)
        assert contents.cases == contents.patients == {e["case_id"].decode() for e in examples}
        assert contents.ranges == {"hu": (values.min(), values.max())}
        assert contents.lesions.total() == contents.positive


def test_counting_without_images_says_the_same_but_for_the_range(built):
    without, with_images = inspection.count(built), inspection.count(built, images=True)
    assert inspection.table(without) == inspection.table(with_images)
    assert without["train"].ranges == {}


@pytest.mark.parametrize(("pixels", "bin_"), [(1, 2), (2, 3), (3, 4), (10, 5), (11, 6), (100, 6)])
def test_a_share_on_the_upper_end_of_a_bin_belongs_to_it(pixels, bin_):
    contents = inspection.SplitContents()
    contents.add(example(mask=infected(pixels)), image=False)
    assert contents.lesions == {bin_: 1}


def test_unlabelled_slices_and_unknown_patients_are_not_counted_as_known():
    contents = inspection.SplitContents()
    contents.add(example(), image=False)
    contents.add(example(mask=infected(0), patient_id="ann"), image=False)
    assert (contents.slices, contents.labelled, contents.positive) == (2, 1, 0)
    assert contents.patients == {"ann"}
    assert "unknown" in inspection.table({"train": inspection.SplitContents()})


def test_the_histogram_counts_all_splits_together():
    contents = inspection.SplitContents()
    for pixels in (1, 1, 50):
        contents.add(example(mask=infected(pixels)), image=False)
    text = inspection.histogram({"train": contents, "test": contents})
    rows = dict(line.rsplit(maxsplit=2)[:2] for line in text.splitlines() if "#" in line)
    assert rows == {"0.5-1 %": "4", "> 10 %": "2"}


def test_the_contact_sheet_outlines_the_infection(built, tmp_path):
    shown = inspection.save_contact_sheet(built, "validation", tmp_path / "sheet.png")
    assert shown == built.info.splits["validation"].num_examples == 8
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (160, 8 * 160, 3)
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 100)
    tiles = red.reshape(160, 8, 160).any(axis=(0, 2))
    assert tiles.sum() == inspection.count(built)["validation"].positive
