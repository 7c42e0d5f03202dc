"""Splits whose slices are cut to the lungs: a box for every case, and what is prepared of it."""

import numpy as np
import pytest

from cosup_jax.data import chest, pipeline, schema
from cosup_jax.data.preprocess import Preprocessing, apply_window, prepare_example
from tests.data import slice_folders

SETTINGS = Preprocessing((32, 48))
SHAPE = (48, 64)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Scans `a` and `b` of one size, `c` of two; every one by itself in grey values."""
    root = tmp_path_factory.mktemp("slices")
    shapes = {("train", "a"): [SHAPE] * 3, ("train", "b"): [(40, 72)] * 2}
    shapes |= {("train", "c"): [SHAPE, (64, 64), SHAPE], ("val", "d"): [SHAPE]}
    return slice_folders.built(slice_folders.draw_chests(root, shapes), root)


def by_hand(builder, split, window=SETTINGS.window):
    """The box of each case, of its values as `Segmenter.boxes` windows them."""
    cases = {}
    for example in builder.as_data_source(split=split):
        values = schema.true_values(example)[..., 0]
        hu = schema.INTENSITIES[example["intensity"]] == "hu"
        cases.setdefault(example["case_id"].decode(), []).append(
            apply_window(values, window) if hu else values
        )
    return {case: chest.find_box(values) for case, values in cases.items()}, cases


@pytest.mark.parametrize("split", ["train", "validation", "test", "train+validation", "train[:5]"])
def test_all_slices_of_a_case_in_the_split_have_its_box(phantoms, split):
    wanted, _ = by_hand(phantoms, split)
    found = pipeline.find_boxes(phantoms, split, SETTINGS, chest.VOLUME)
    cases = [e["case_id"].decode() for e in phantoms.as_data_source(split=split)]
    assert found == [wanted[case] for case in cases]
    assert len({str(box) for box in wanted.values()}) > 1
    assert all(box != np.s_[0:64, 0:64] for box in found)


def test_the_window_decides_what_is_air(phantoms):
    """At 0 to 1000 HU the body is as dark as its lungs."""
    settings = Preprocessing((32, 48), (500.0, 1000.0))
    found = pipeline.find_boxes(phantoms, "test", settings, chest.VOLUME)
    assert set(map(str, found)) == set(
        map(str, by_hand(phantoms, "test", (500.0, 1000.0))[0].values())
    )
    assert found != pipeline.find_boxes(phantoms, "test", SETTINGS, chest.VOLUME)


def test_grey_slices_of_several_sizes_have_each_its_own_box(slices):
    boxes, cases = by_hand(slices, "train")
    assert boxes["c"] is None
    assert boxes["a"] is not None
    found = pipeline.find_boxes(slices, "train", SETTINGS, chest.VOLUME)
    for example, box in zip(slices.as_data_source(split="train"), found, strict=True):
        case, values = example["case_id"].decode(), example["image"][..., 0]
        assert box == (boxes[case] or chest.find_box([values.astype(np.float32)]))
    assert {len(values) for values in cases.values()} == {2, 3}


def test_whole_slices_have_no_boxes_and_nothing_is_read(phantoms, monkeypatch):
    monkeypatch.setattr(pipeline, "Records", None)
    assert pipeline.find_boxes(phantoms, "train", SETTINGS, chest.WHOLE) is None


def test_an_empty_split_is_refused(phantoms):
    with pytest.raises(pipeline.EmptySplitError, match="'train\\[:0\\]' is empty"):
        pipeline.find_boxes(phantoms, "train[:0]", SETTINGS, chest.VOLUME)


@pytest.mark.parametrize("cache_gib", [0.0, 8.0])
def test_slices_are_what_is_prepared_of_the_part_in_the_box(slices, cache_gib):
    boxes = pipeline.find_boxes(slices, "train", SETTINGS, chest.VOLUME)
    opened = pipeline.open_split(slices, "train", SETTINGS, boxes=boxes, cache_gib=cache_gib)
    stored = list(slices.as_data_source(split="train"))
    assert len(opened) == len(stored) == len(boxes)
    for i in (0, *reversed(range(len(stored)))):  # in any order
        rows, columns = boxes[i]
        part = {name: stored[i][name][rows, columns] for name in ("image", "mask")}
        wanted = prepare_example({**stored[i], **part}, SETTINGS)
        assert opened[i].keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(opened[i][name], value)
        whole = prepare_example(stored[i], SETTINGS)
        assert not np.array_equal(opened[i]["image"], whole["image"])


def test_batches_to_train_on_are_of_the_cut_slices(slices):
    boxes = pipeline.find_boxes(slices, "train", SETTINGS, chest.VOLUME)
    opened = pipeline.open_split(slices, "train", SETTINGS, boxes=boxes, cache_gib=0.0)
    batch = next(iter(pipeline.train_batches(opened, batch_size=8, seed=1)))
    wanted = {
        (e["case_id"], e["slice_index"]): e["image"] for e in map(opened.__getitem__, range(8))
    }
    places = zip(batch["case_id"], batch["slice_index"], strict=True)
    for place, image in zip(places, batch["image"], strict=True):
        np.testing.assert_array_equal(image, wanted[place])
