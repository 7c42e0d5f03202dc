"""The recipe of the weights: who is trained on, what the slices are, and how figures are made."""

import csv
import importlib
import sys
from pathlib import Path

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from cosup_jax import weights
from cosup_jax.metrics import Counts

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "weights"
NAMES = ("sets", "score", "experts", "data", "make", "lungs")
SEMISEG = "TrainingSet/LungInfection-Train"


@pytest.fixture(scope="module")
def scripts():
    """The scripts as modules, which import each other by their file's name as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        patch.syspath_prepend(str(SCRIPTS.parent / "evaluation"))
        yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        del sys.modules[name]


def texture(seed):
    """A (256, 256) uint8 slice like no other, a body with lungs and a lesion, both bool."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.uniform(150, 245, (24, 24)).astype(np.float32), (256, 256))
    noise[:30] = noise[226:] = noise[:, :20] = noise[:, 236:] = 0
    lung, mask = np.zeros((2, 256, 256), bool)
    lung[60:200, 50:120] = lung[60:200, 140:210] = True
    noise[lung] = (noise[lung] - 150) / 2
    mask[100:130, 80:120] = True
    noise[mask] = 250
    return noise.astype(np.uint8), lung, mask


def save(values, *parts):
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8) * (255 if values.dtype == bool else 1)).save(path)


def write_folder(folder, split, cases):
    rows = []
    for case, patient, seeds in cases:
        for i, seed in enumerate(seeds):
            image, lung, mask = texture(seed)
            name = f"{case}_{i:03d}.png"
            for kind, values in (("image", image), ("mask", mask), ("lung", lung)):
                save(values, folder, split, kind, name)
            rows.append((name, case, patient))
    with (folder / f"{split}_index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "case", "patient"), *rows])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """All sets in small: one patient trained on, one validated on, one kept for later."""
    root = tmp_path_factory.mktemp("sets")
    trained, validated = ("coronacases_001", "corona001"), ("coronacases_003", "corona003")
    for split, case, seeds in (("train", trained, range(4)), ("val", validated, range(20, 22))):
        write_folder(root / "covid_ct_seg_slices", split, [(*case, seeds)])
        write_folder(root / "medseg_volumes", split, [(f"medseg-{split}", split, seeds[:2])])
    semiseg = root / "covid_semiseg" / SEMISEG
    for case, seeds in (("001", range(4)), ("003", (20, 21)), ("005", (30, 31))):
        for i, seed in enumerate(seeds):
            whole = cv2.resize(255 - (255 - texture(seed)[0]) // 2, (512, 512))
            stored = whole[80:430, 70:450][::-1].T  # as the set has them: on the side, from back
            name = f"Data-1_coronacases_org_{case}_{i + 1}.jpg"
            save(stored, semiseg, "Pseudo-label", "Imgs", name)
    for i in range(10):
        image, _, mask = texture(100 + i)
        save(image.T, semiseg, "Doctor-label", "Imgs", f"{i}.jpg")
        save(mask.T, semiseg, "Doctor-label", "GT", f"{i}.png")
    for person in ("normal1", "normal2", "normal3"):
        for i in range(2):
            save(texture(200 + i)[0], root, "normal_slices", "image", f"{person}_{i:03d}.png")
    return root


@pytest.fixture(scope="module")
def splits(scripts, sources):
    return {name: list(scripts["data"].slices(sources, name)) for name in ("train", "val")}


def test_nobody_is_in_two_splits_and_those_kept_for_later_are_in_none(splits):
    people = {name: {piece.patient for piece in found} - {""} for name, found in splits.items()}
    assert people["train"] == {"coronacases_001", "train", "normal1", "normal2"}
    assert people["val"] == {"coronacases_003", "val", "normal3"}
    cases = [{piece.case for piece in found} for found in splits.values()]
    assert not cases[0] & cases[1]
    assert not any("005" in case for found in cases for case in found)


def test_unlabelled_slices_get_the_mask_of_the_slice_they_were_cut_from(splits):
    cuts = [piece for piece in splits["train"] if piece.case == "cut.coronacases_001"]
    assert len(cuts) == 4
    for piece in cuts:
        assert piece.image.shape == piece.mask.shape == (350, 380)
        bright = piece.image >= 250
        assert 2 * (bright & piece.mask).sum() / (bright.sum() + piece.mask.sum()) > 0.9


def test_slices_that_nobody_has_labelled_are_a_pool_with_what_a_network_marks(
    scripts, sources, splits, monkeypatch
):
    class Marking:
        def __init__(self, network):
            self.sure = np.float32(network.peak)

        def __call__(self, slices, intensity, count):
            assert intensity == "grey8"
            for values in slices:
                found = np.where(values >= 250, self.sure, np.float32(0))
                found[:9, :9] = 0.8  # which reaches no peak
                yield found

    monkeypatch.setattr(scripts["data"], "Segmenter", Marking)
    network = weights.Pretrained("x", None, {}, None, "", {}, threshold=0.7, peak=0.9)
    places = sources / "covid_semiseg", sources / "covid_ct_seg_slices" / "train"
    cuts = [piece for piece in splits["train"] if piece.case.startswith("cut.")]
    assert list(scripts["data"].pool(*places, cuts, network)) == []
    known, unknown = cuts[:1], cuts[1:]
    for piece, truth in zip(scripts["data"].pool(*places, known, network), unknown, strict=True):
        assert (piece.case, piece.number) == ("pool.coronacases_001", truth.number)
        assert piece.patient == truth.patient
        np.testing.assert_array_equal(piece.image, truth.image)
        np.testing.assert_array_equal(piece.mask, truth.image >= 250)


def test_crops_are_boxes_around_the_lungs_which_alone_are_validated_on(splits):
    crops = [piece for name in splits for piece in splits[name] if "-crop." in piece.case]
    wholes = {(p.case, p.number): p for p in splits["train"] if "-crop." not in p.case}
    assert len(crops) > 10
    for piece in crops:
        height, width = piece.image.shape
        assert 140 <= height < 190
        assert 160 <= width < 210
        assert piece.mask.sum() in (0, 30 * 40)
    cut = next(piece for piece in crops if piece.case == "medseg-crop.medseg-train")
    assert cut.mask.sum() == wholes["medseg.medseg-train", cut.number].mask.sum()
    validated = {piece.case.partition(".")[0] for piece in splits["val"]}
    assert validated == {"equalised-crop", "medseg-crop", "normal-crop", "semiseg"}


def test_labelled_slices_of_covid_semiseg_stand_upright(splits):
    found = [p for name in splits for p in splits[name] if p.case.startswith("semiseg.")]
    assert [name for name in splits for p in splits[name] if p in found].count("val") == 1
    for piece in found:
        np.testing.assert_array_equal(piece.mask, texture(0)[2])


def test_lungs_are_learnt_with_what_is_dense_in_them_and_without_those_left_out(
    scripts, sources, monkeypatch
):
    recipe = scripts["lungs"]
    monkeypatch.setattr(recipe, "PHANTOMS", {"train": range(3, 4), "val": range(4, 5)})
    found = {split: list(recipe.slices(sources, split)) for split in ("train", "val")}
    _, lung, lesion = texture(0)
    for piece in found["train"]:
        if piece.case == "equalised.coronacases_001":
            np.testing.assert_array_equal(piece.mask, lung | lesion)
    people = [{piece.patient for piece in pieces} for pieces in found.values()]
    assert people == [
        {"coronacases_001", "train", "phantom3"},
        {"coronacases_003", "val", "phantom4"},
    ]
    left = list(recipe.slices(sources, "train", ["coronacases_001"]))
    assert {piece.patient for piece in left} == {"train", "phantom3"}


def test_the_same_slices_are_the_same_files(scripts, splits, tmp_path):
    stamps = []
    for name in ("one", "other"):
        rows = [scripts["data"].write(piece, tmp_path / name) for piece in splits["val"][:3]]
        assert [row[1] for row in rows] == [piece.case for piece in splits["val"][:3]]
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        stamps.append([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files])
    assert stamps[0] == stamps[1]
    assert len(stamps[0]) == 6


def scored(scripts, rows, patients=None):
    """Slices with tp, fp, fn at every threshold below 0.5, and nothing marked above."""
    tp, fp, fn = (np.repeat(np.array(n)[:, None], 256, 1) for n in zip(*rows, strict=True))
    tp, fp, fn = (n.astype(np.int64) for n in (tp, fp, fn))
    fn[:, 128:] += tp[:, 128:]
    tp[:, 128:], fp[:, 128:] = 0, 0
    levels = Counts(tp=tp, fp=fp, fn=fn, tn=100 - tp - fp - fn)
    people = patients or [str(i) for i in range(len(rows))]
    return scripts["score"].Scored(levels, people, np.zeros(len(rows)))


def test_means_are_of_infected_slices_and_marks_of_empty_ones(scripts):
    score = scripts["score"]
    found = scored(scripts, [(10, 0, 0), (5, 5, 5), (0, 3, 0), (0, 0, 0)])
    assert score.mean_dice(found, 0.3) == pytest.approx(0.75)
    assert score.mean_dice(found, 0.6) == 0
    assert score.pooled(found, 0.3) == pytest.approx((30 / 43, 15 / 20))
    assert score.marked(found, 0.3) == (1, 2)
    assert score.marked(found, 0.6) == (0, 2)
    empty = scored(scripts, [(0, 0, 0)])
    assert np.isnan(score.mean_dice(empty, 0.3))


def test_the_threshold_is_that_of_the_best_macro_mean_next_to_a_half(scripts):
    score = scripts["score"]
    sets = {
        "a": scored(scripts, [(10, 0, 0), (5, 5, 5), (0, 3, 0)]),
        "b": scored(scripts, [(10, 0, 0)]),
        "c": scored(scripts, [(0, 0, 0)]),
    }
    assert score.macro_mean(sets, 0.3) == pytest.approx((0.75 + 1 + 0.5) / 3)
    assert score.macro_mean(sets, 0.6) == pytest.approx((0 + 0 + 1) / 3)
    assert score.choose_threshold(sets) == pytest.approx(0.48, abs=0.021)


def test_the_interval_is_over_patients(scripts):
    rows = [(10, 0, 0)] * 3 + [(5, 5, 5)]
    low, high = scripts["score"].interval(scored(scripts, rows, ["p", "p", "p", "q"]), 0.3)
    assert (low, high) == pytest.approx((0.5, 1.0))
    same = scored(scripts, rows, ["p"] * 4)
    assert scripts["score"].interval(same, 0.3) == pytest.approx((0.875, 0.875))


def test_the_best_epoch_is_written_with_the_threshold_that_is_best_for_the_file(
    scripts, tiny_run, tmp_path, monkeypatch
):
    """Grey values of any slice do; what counts is that file, card and curve belong together."""
    piece = scripts["sets"].Piece
    image, _, mask = (part[::8, ::8] for part in texture(0))
    pieces = [piece(image.astype(np.float32), part, None, "p") for part in (mask, mask & False)]
    monkeypatch.setattr(scripts["sets"], "validation", lambda _: {"some": pieces})
    scripts["make"].export(tmp_path, tiny_run, tmp_path / "c2f-x")
    found = weights.load(tmp_path / "c2f-x.safetensors")
    said = (tmp_path / "c2f-x.md").read_text()
    assert 0.1 <= found.threshold <= 0.9
    assert found.peak in scripts["score"].PEAKS
    assert f"threshold {found.threshold}, peak {found.peak}, macro mean" in said
    assert said.startswith(f"Epoch {found.card['epoch']} of ")
    assert "licence" in found.card
    assert "" not in found.card["trained_on"]


def test_a_curve_has_some_epochs_and_the_last_with_the_time_used_until_there(scripts):
    rows = [
        {"epoch": i + 1, "cpu_seconds": 36.0, "train/loss": 1 / (i + 1), "learning_rate": 1e-3}
        | {"validation/loss": 2.0, "validation/dice": 0.5}
        for i in range(103)
    ]
    lines = scripts["make"].curve(rows).splitlines()[2:]
    assert len(lines) <= 30
    assert lines[-1].startswith("| 103 | 1.03 | 0.010 |")
    assert scripts["make"].curve(rows[:1]).splitlines()[2].startswith("| 1 | 0.01 | 1.000 |")


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.integers(0, 2**32 - 1))
def test_above_each_threshold_the_parts_that_touch_the_lungs_are_left(scripts, seed):
    random = np.random.default_rng(seed)
    probability = random.random((3, 9, 11)).astype(np.float32)
    lung = random.random(probability.shape) < 0.01
    found = scripts["score"].touching(probability, lung)
    for threshold in (0.05, 0.5, 0.8, 0.9):
        parts, count = ndimage.label(probability > threshold, np.ones((3, 3, 3)))
        wanted = np.zeros_like(lung)
        for number in range(1, count + 1):
            wanted |= (parts == number) & ((parts == number) & lung).any()
        np.testing.assert_array_equal(found > threshold, wanted)


def test_what_is_sure_in_another_slice_of_the_volume_holds_a_part(scripts):
    score, piece = scripts["score"], scripts["sets"].Piece
    faint, sure = (np.full((4, 4), p, np.float32) for p in (0.6, 0.96))
    here, small = piece(faint, faint > 1, None, "p", "v"), np.zeros((2, 2), np.float32)
    found = {
        ("v", "v"): [0.6, 0.96],
        ("v", "w"): [0, 0.96],
        ("", ""): [0, 0.96],  # pictures
    }
    for names, wanted in found.items():
        pieces = [here._replace(volume=name) for name in names]
        held = score.holding([faint, sure], pieces, 0.95)
        np.testing.assert_allclose([part.max() for part in held], wanted)
    apart = [here, here._replace(image=small)]
    held = score.holding([faint, small + np.float32(0.96)], apart, 0.95)
    np.testing.assert_allclose([part.max() for part in held], [0, 0.96])


def test_two_experts_and_a_network_are_compared_where_both_have_marked(scripts):
    experts, piece = scripts["experts"], scripts["sets"].Piece
    ours, others = [], []
    for seed in range(4):
        image, lung, mask = texture(seed)
        ours.append(piece(image.astype(np.float32), mask, lung, "p", "v"))
        half = mask.copy()
        half[115:] = False
        others.append(piece(255 - (255 - image.astype(np.float32)) / 2, half, lung, "p", "w"))
    pairs = experts.paired(ours, others[2:0:-1])
    assert [pair.mask is None for pair in pairs] == [True, False, False, True]
    np.testing.assert_array_equal(pairs[1].mask, others[1].mask)
    marks = [pair.piece.mask for pair in pairs]
    assert experts.row(pairs, marks) == ["4", "2", "1.000", "0.667", "1.000", "0.667"]
    assert experts.row(pairs, None)[3:] == ["0.667", "–", "–"]
    with pytest.raises(ValueError, match="v: two slices of w are like one of it"):
        experts.paired(ours, [others[1], others[1]])
