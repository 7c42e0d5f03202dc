"""Saved maps, also somebody else's: which are read, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from cosup_jax.data import slice_files
from cosup_jax.data.builder import DatasetLayoutError
from cosup_jax.evaluation import map_values, saved, tables
from cosup_jax.scans.images import ImageError

TRUTH = np.zeros((6, 8), np.uint8)
TRUTH[1:4, 2:5] = 255
GREY = np.where(TRUTH > 0, 200, 10).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name in ("maps", "masks"):
        (tmp_path / name).mkdir()
    for stem in ("a_1", "a_2"):
        Image.fromarray(TRUTH).save(tmp_path / "masks" / f"{stem}.png")
        Image.fromarray(GREY).save(tmp_path / "maps" / f"{stem}.png")
    return tmp_path


def evaluate(folders, **options):
    return saved.evaluate_folders(
        folders / "maps", folders / "masks", **{"protocol": "cosup", **options}
    )


def test_maps_and_masks_are_matched_by_name(folders):
    summary = evaluate(folders)
    assert (summary["dice"]["mean"], summary["dice"]["n"]) == (1.0, 2)
    assert summary["per_case"]["dice"]["n"] == 1
    assert summary["mae"]["mean"] == pytest.approx((9 * 55 + 39 * 10) / 48 / 255)
    assert summary["per_volume"] == {}
    printed = tables.table(summary)
    said = f"{folders / 'maps'} (values: probabilities 0..255) against {folders / 'masks'}"
    assert printed.startswith(said)
    assert "\nprotocol cosup: saved maps at 0.5 and their own size, mean over slices\n" in printed
    assert "at the slice's own size" in tables.table(evaluate(folders, protocol="semiseg"))


@pytest.mark.parametrize(
    ("first", "other"),
    [("a_1", "a_01"), ("scan", "scan_0"), ("scan_0", "scan_000"), ("b_c_7", "b_c_07")],
)
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_one_slice_under_two_names_is_refused(folders, first, other, suffix):
    for path in [*folders.glob("m*/*.png")]:
        path.unlink()
    for stem in (first, other):
        Image.fromarray(TRUTH).save(folders / "masks" / f"{stem}.png")
        if suffix == ".npy":
            np.save(folders / f"maps/{stem}.npy", GREY / 255)
        else:
            Image.fromarray(GREY).save(folders / f"maps/{stem}.png")
    with pytest.raises(saved.SavedMapError, match="slice [0-9]+, as .* is; expected one") as caught:
        evaluate(folders)
    assert {f"{first}{suffix}", f"{other}{suffix}"} <= set(
        str(caught.value).replace("/", " ").replace(":", " ").split()
    )


def test_whose_pictures_are_is_said_where_their_names_are_taken_for_it(folders):
    assert evaluate(folders)["note"].split("; ")[0] == slice_files.EACH_A_PATIENT
    for path in [*folders.glob("m*/a_*.png")]:
        path.rename(path.with_stem(path.stem.replace("_", "")))
    assert slice_files.EACH_A_PATIENT not in evaluate(folders)["note"]


def test_truths_that_are_scored_against_themselves_are_noted(folders):
    assert saved.SAME not in evaluate(folders)["note"]
    masks = folders / "masks"
    summary = saved.evaluate_folders(masks, masks / "../masks", protocol="cosup")
    assert "; PREDICTIONS AND TRUTHS ARE THE SAME" in summary["note"]


def as_array(dtype):
    return lambda path: np.save(path.with_suffix(".npy"), (GREY / 255).astype(dtype))


def as_16_bit(path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)


@pytest.mark.parametrize(
    "write",
    [as_array(np.float32), as_array(np.float64), as_16_bit],
    ids=["float32", "float64", "16 bit"],
)
def test_other_kinds_of_maps_give_the_same(folders, write):
    wanted = evaluate(folders)
    for path in list((folders / "maps").iterdir()):
        path.unlink()
        write(path)
    found = evaluate(folders)
    for name in ("dice", "mae", "s_alpha", "e_phi_mean"):
        assert found[name]["mean"] == pytest.approx(wanted[name]["mean"], abs=1e-7)


def test_binary_arrays_and_class_masks(folders):
    for path in list((folders / "maps").iterdir()):
        path.unlink()
        np.save(path.with_suffix(".npy"), TRUTH > 0)
    Image.fromarray((TRUTH // 255) * 2).save(folders / "masks" / "a_1.png")
    summary = evaluate(folders)
    assert (summary["dice"]["mean"], summary["mae"]["mean"]) == (1.0, 0.0)


INFECTED = (TRUTH > 0) & (np.arange(8) < 4)
PAIRS = {
    "labels": INFECTED.astype(np.uint8),
    "8 bits": INFECTED * np.uint8(255),
    "16-bit labels": INFECTED.astype(np.uint16),
    "8 bits in 16": INFECTED * np.uint16(255),
    "16 bits": INFECTED * np.uint16(65535),
    "one bit": INFECTED,
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_binary_map_is_binary_whatever_pair_of_values_it_has(folders, kind):
    for name, values in (("a_1", PAIRS[kind]), ("a_2", np.zeros_like(PAIRS[kind]))):
        Image.fromarray(values).save(folders / "maps" / f"{name}.png")
    summary = evaluate(folders)
    assert summary["mae"]["mean"] == pytest.approx((3 + 9) / 48 / 2)
    assert summary["dice"]["mean"] == pytest.approx(2 * 6 / (6 + 9) / 2)
    assert "healthy" in summary["map_values"]


UNCLEAR = {
    "0 and 2": [[0, 2]],
    "three classes": [[0, 1], [0, 2], [0, 3]],
    "three levels": [[0, 127, 255]],
    "per cent": [[0, 3, 20, 50, 99, 100]],
    "dark": [range(100)],
    "12 bits in 16": [range(0, 4096, 7)],
    "8 and 16 bits": [[0, 1, 5, 200], np.array([0, 300], np.uint16)],
    "labels and grey": [[0, 1], [0, 255]],
}


def hold(folders, groups):
    """Makes the maps hold some values each, in the top row; the others are 0."""
    for name, values in zip(("a_1", "a_2"), [*groups, groups[-1]], strict=False):
        dtype = getattr(values, "dtype", np.uint16 if max(values) > 255 else np.uint8)
        flat = np.zeros(6000, dtype)
        flat[: len(values)] = values
        for place, content in (("maps", flat), ("masks", np.zeros(6000, np.uint8))):
            Image.fromarray(content.reshape(60, 100)).save(folders / place / f"{name}.png")


@pytest.mark.parametrize("kind", UNCLEAR)
def test_values_that_can_mean_several_things_are_asked_for(folders, kind):
    hold(folders, UNCLEAR[kind])
    with pytest.raises(map_values.MapValuesError, match="--map-values=labels"):
        evaluate(folders)
    summary = evaluate(folders, map_values="65535")
    assert summary["map_values"] == "as declared, probabilities 0..65535"
    hold(folders, [[0, 40, 60, 100]])
    assert evaluate(folders, map_values="100")["dice"]["mean"] == 0
    with pytest.raises(map_values.MapValuesError, match="hold 100, which is above it"):
        evaluate(folders, map_values="99")


def test_all_files_decide_together(folders):
    hold(folders, [[0, 1], range(256)])  # the first alone would be labels
    told = "; 1 of 2 maps hold only 0 and 1, as labels do, a_1.png first"
    assert evaluate(folders)["map_values"] == f"probabilities 0..255{told}"
    hold(folders, [[0, 0], range(256)])
    assert evaluate(folders)["map_values"] == "probabilities 0..255"


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "65536", "binary", ""])
def test_a_declaration_that_means_nothing_is_refused(folders, wrong):
    with pytest.raises(map_values.MapValuesError, match="expected auto, labels, or a value from 1"):
        evaluate(folders, map_values=wrong)


def test_maps_of_our_own_say_what_they_mean(folders, tmp_path):
    writer = saved.Writer(tmp_path / "own")
    for i in range(2):
        writer({"case_id": "a", "slice_index": i}, GREY // 4, TRUTH > 0)
    own = tmp_path / "own"
    summary = saved.evaluate_folders(own / "predictions", own / "truths", protocol="cosup")
    assert summary["map_values"] == "as declared, probabilities 0..255"
    assert summary["mae"]["mean"] == pytest.approx((9 * 205 + 39 * 2) / 48 / 255)


def replace_map(array, name="a_1.npy", **options):
    """Makes all maps arrays, one of them another."""

    def spoil(folders):
        for path in list((folders / "maps").iterdir()):
            path.unlink()
            np.save(path.with_suffix(".npy"), GREY / 255)
        np.save(folders / "maps" / name, array, **options)

    return spoil


def replace_by_bytes(change):
    def spoil(folders):
        replace_map(GREY / 255)(folders)
        path = folders / "maps" / "a_1.npy"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def header(shape, whole=False):
    """Has the header of an array claim another shape, or be something else altogether."""
    claim = shape if whole else f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
    line = claim.encode().ljust(117) + b"\n"
    return replace_by_bytes(
        lambda b: b[:8] + len(line).to_bytes(2, "little") + line + (GREY / 255).tobytes()
    )


def remove(name):
    return lambda folders: (folders / name).unlink()


def picture(values, name="maps/a_1.png"):
    return lambda folders: Image.fromarray(values).save(folders / name)


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return print, ("executed",)


COLOUR = np.stack([GREY, GREY, GREY // 2], axis=-1)
BAD = {
    "a map without truth": (remove("masks/a_1.png"), "a_1.png: no truth of this name.*1 of 2"),
    "a truth without map": (remove("maps/a_2.png"), "a_2.png: no prediction of this name"),
    "another size": (picture(GREY[:-1]), "a_1.png: 8 x 5 pixels, but its truth .* has 8 x 6"),
    "colour": (picture(COLOUR), "a_1.png: pixels of kind 'RGB'; expected 8- or 16-bit grey"),
    "a soft truth": (picture(GREY, "masks/a_1.png"), r"values \[10, 200\]; expected 0 and 255"),
    "no folder": (lambda f: (f / "maps").rename(f / "other"), "maps: no such folder"),
    "another file": (lambda f: (f / "maps" / "x.txt").touch(), "x.txt: not a slice"),
    "two kinds": (lambda f: np.save(f / "maps" / "a_1.npy", GREY / 255), "lies among .npy"),
    "a stack": (replace_map(np.zeros((2, 6, 8))), r"float64 of shape \(2, 6, 8\); expected"),
    "numbers that are counts": (replace_map(GREY), "uint8 of shape .* expected"),
    "logits": (replace_map(GREY - 20.0), "from -10 to 180; expected probabilities"),
    "NaN": (replace_map(np.full((6, 8), np.nan)), "from nan to nan; expected probabilities"),
    "no pixel": (replace_map(np.zeros((0, 8))), "expected 1..4096 pixels"),
    "a pickle": (replace_map(np.array([[Bomb()]]), allow_pickle=True), "object of shape"),
    "truncated": (replace_by_bytes(lambda b: b[:-9]), "375 bytes of values do not make float64"),
    "too long": (replace_by_bytes(lambda b: b + b"more"), "388 bytes of values do not make"),
    "a huge shape": (header("(10000000000000000000000, 8)"), "expected 1..4096 pixels"),
    "sizes that overflow": (header("(4611686018427387904, 4)"), "expected 1..4096 pixels"),
    "a negative shape": (header("(-6, -8)"), "expected 1..4096 pixels"),
    "a header that is no dictionary": (header("((((", whole=True), "no .npy array"),
    "no array at all": (replace_by_bytes(lambda _: b"PK\x03\x04"), "no .npy array"),
    "an empty file": (replace_by_bytes(lambda _: b""), "no .npy array"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_refused_is_named(folders, kind, capsys):
    spoil, message = BAD[kind]
    spoil(folders)
    with pytest.raises((saved.SavedMapError, ImageError, DatasetLayoutError), match=message):
        evaluate(folders)
    assert capsys.readouterr().out == ""


def test_empty_folders_are_no_evaluation(tmp_path):
    for name in ("maps", "masks"):
        (tmp_path / name).mkdir()
    with pytest.raises(saved.SavedMapError, match="both folders are empty"):
        evaluate(tmp_path)


def test_a_link_out_of_the_folder_is_refused(folders, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    (folders / "maps" / "a_1.png").rename(outside)
    (folders / "maps" / "a_1.png").symlink_to(outside)
    with pytest.raises(DatasetLayoutError, match="outside of"):
        evaluate(folders)


@pytest.mark.parametrize("case", ["../up", "a/b", "a\\b", ".hidden"])
def test_a_case_cannot_lead_out_of_the_folder_it_is_written_to(tmp_path, case):
    writer = saved.Writer(tmp_path)
    with pytest.raises(saved.SavedMapError, match="cannot serve as the name of a file"):
        writer({"case_id": case, "slice_index": 0}, GREY, TRUTH > 0)
