"""The page in a real browser: what it shows is the volume, and every control does what it says."""

import re

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

from tests.report.pages import Page, write

LUNG, MEDIASTINUM = (-600, 1500), (40, 400)


@pytest.fixture(scope="module")
def path(scan, tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "scan.html", scan)


@pytest.fixture
def page(browser, path):
    opened = Page(browser, path)
    yield opened
    assert opened.errors() == []


def plane(volume, name, index):
    """The plane of a volume as a radiologist has it: the head on top, the patient's right left."""
    if name == "axial":
        return volume[index]
    return (volume[:, index] if name == "coronal" else volume[:, :, index])[::-1]


def grey(values, window):
    centre, width = window
    return 255 * np.clip((values.astype(float) - centre) / width + 0.5, 0, 1)[..., None]


def assert_shows(page, scan, name, index, window=LUNG):
    """Greys are those of the phantom's own values, up to the rounding of the values."""
    expected = grey(plane(scan.image, name, index), window)
    tolerance = 0.5 + 255 * 4.01 / window[1]
    np.testing.assert_allclose(
        page.pixels(name), np.broadcast_to(expected, (*expected.shape[:2], 3)), atol=tolerance
    )


def test_opens_from_the_disk_without_asking_anything_of_anyone(page):
    assert page.run("return location.protocol") == "file:"
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    assert page.text("h1") == "phantom 3"
    assert page.text("#geometry").startswith("10 slices of 96 × 80 pixels, voxels of 3.80")
    assert "not a medical device" in page.text(".warning")


@pytest.mark.parametrize(("name", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_planes_show_the_phantom_slice_by_slice(page, scan, name, axis):
    page.press(" ")
    for index in (0, scan.image.shape[axis] // 3, scan.image.shape[axis] - 1):
        page.move(name, index)
        assert page.place()[axis] == index
        assert_shows(page, scan, name, index)


def test_sides_of_the_body_are_named(page):
    def sides(name):
        return page.run(
            """const stage = document.querySelector(`#${arguments[0]} .stage`);
            const box = stage.getBoundingClientRect();
            return Object.fromEntries([...stage.querySelectorAll("abbr")].map((mark) => {
              const { left, right, top, bottom } = mark.getBoundingClientRect();
              const x = (left + right) / 2 - box.left - box.width / 2;
              const y = (top + bottom) / 2 - box.top - box.height / 2;
              const across = Math.abs(x) > Math.abs(y);
              return [across ? (x < 0 ? "left" : "right") : y < 0 ? "top" : "bottom", mark.title];
            }))""",
            name,
        )

    assert sides("axial") == {"left": "right", "right": "left", "top": "front", "bottom": "back"}
    assert sides("coronal") == {"left": "right", "right": "left", "top": "head", "bottom": "feet"}
    assert sides("sagittal") == {"left": "front", "right": "back", "top": "head", "bottom": "feet"}


def test_planes_have_the_proportions_of_the_body(page, scan):
    mm = np.array(scan.image.shape) * scan.spacing
    for name, (down, across) in {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}.items():
        box = page.find(f"#{name} .stage").rect
        assert box["width"] / box["height"] == pytest.approx(mm[across] / mm[down], rel=0.02)


def test_starts_at_the_slice_with_most_infection_on_a_marked_voxel(page, scan):
    z, y, x = page.place()
    assert z == scan.mask.sum((1, 2)).argmax()
    assert scan.mask[z, y, x]
    assert "marked as infection" in page.text("#readout")


def test_overlay_covers_the_mask_and_nothing_else(page, scan):
    z = page.place()[0]
    bare = grey(scan.image[z], LUNG)
    shown = page.pixels("axial")
    np.testing.assert_allclose(
        shown[~scan.mask[z]], np.repeat(bare, 3, -1)[~scan.mask[z]], atol=1.5
    )
    expected = (0.5 * bare + 0.5 * np.array([255, 140, 40]))[scan.mask[z]]
    np.testing.assert_allclose(shown[scan.mask[z]], expected, atol=2.5)
    for toggle in (lambda: page.press(" "), lambda: page.find("#visible").click()):
        toggle()
        assert_shows(page, scan, "axial", z)
        toggle()
        np.testing.assert_array_equal(page.pixels("axial"), shown)


def test_opacity_reaches_from_nothing_to_full_colour(page, scan):
    z = page.place()[0]
    for opacity, expected in ((0, grey(scan.image[z], LUNG)), (100, np.array([255, 140, 40]))):
        page.run(
            """const slider = document.getElementById("opacity");
            slider.value = arguments[0];
            slider.dispatchEvent(new Event("input"));""",
            opacity,
        )
        shown = page.pixels("axial")
        expected = np.broadcast_to(expected, shown.shape)
        np.testing.assert_allclose(shown[scan.mask[z]], expected[scan.mask[z]], atol=1.5)


def test_outline_runs_along_the_border_of_the_mask(page, scan):
    page.choose("styles", "outline")
    for name, axis in (("axial", 0), ("coronal", 1)):
        index = page.place()[axis]
        assert_shows(page, scan, name, index)
        padded = np.pad(plane(scan.mask, name, index), 1)
        d = page.find(f"#{name} svg path").get_attribute("d")
        drawn = [list(map(int, m)) for m in re.findall(r"M(\d+),(\d+)H(\d+)", d)]
        drawn_down = [list(map(int, m)) for m in re.findall(r"M(\d+),(\d+)V(\d+)", d)]
        across = {(x, y) for x0, y, x1 in drawn for x in range(x0, x1)}
        down = {(x, y) for x, y0, y1 in drawn_down for y in range(y0, y1)}
        sides_across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
        sides_down = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
        assert across == {(x, y) for y, x in sides_across.tolist()}
        assert down == {(x, y) for y, x in sides_down.tolist()}


def test_probability_colours_what_is_not_improbable(page, scan):
    assert not page.find("#legend").is_displayed()
    page.choose("styles", "probability")
    assert page.find("#legend").is_displayed()
    z = page.place()[0]
    shown = page.pixels("axial")
    coloured = np.ptp(shown, axis=-1) > 3
    probability = scan.probability[z]
    assert not coloured[probability < 0.045].any()
    assert coloured[probability > 0.055].mean() > 0.99
    # Over greys of one kind, what is more probable is lighter.
    bare = grey(scan.image[z], LUNG)[..., 0]
    lightness = shown.sum(-1) - 1.5 * bare
    bins = [
        lightness[(probability > low) & (probability < low + 0.1)].mean()
        for low in (0.1, 0.5, 0.85)
    ]
    assert bins == sorted(bins)


def test_windows_by_button_key_and_number(page, scan):
    page.press(" ")
    z = page.place()[0]
    page.choose("windows", "mediastinum")
    assert_shows(page, scan, "axial", z, MEDIASTINUM)
    page.press("1")
    assert_shows(page, scan, "axial", z, LUNG)
    for box, value in (("#centre", "-500"), ("#width", "800")):
        page.find(box).send_keys(Keys.CONTROL + "a")
        page.find(box).send_keys(value + Keys.ENTER)
    assert_shows(page, scan, "axial", z, (-500, 800))


def test_keys_step_through_the_slices_and_stop_at_the_ends(page, scan):
    last = len(scan.image) - 1
    steps = [
        (Keys.END, last),
        (Keys.ARROW_UP, last),
        (Keys.ARROW_DOWN, last - 1),
        (Keys.ARROW_LEFT, last - 2),
        (Keys.ARROW_RIGHT, last - 1),
        (Keys.HOME, 0),
        (Keys.SHIFT + Keys.ARROW_UP, last),
    ]
    for key, expected in steps:
        page.press(key)
        assert page.place()[0] == expected
    page.press(Keys.NULL, Keys.HOME, " ")
    assert_shows(page, scan, "axial", 0)
    page.press("x")
    assert not page.find("#axial .stage i.across").is_displayed()


def test_the_slider_can_be_used_by_keyboard_alone(page):
    z, y, x = page.place()
    page.find("#axial input").send_keys(Keys.ARROW_UP)
    page.find("#coronal input").send_keys(Keys.ARROW_UP)
    page.find("#coronal input").send_keys(Keys.ARROW_RIGHT)
    assert page.place() == (z + 1, y + 2, x)
    slider = page.find("#axial input")
    assert slider.get_attribute("aria-valuetext") == f"slice {z + 2} of 10"
    assert slider.accessible_name == "Axial slice, from the feet to the head"


def test_keys_are_left_alone_where_they_mean_something_else(page):
    before = page.place()
    page.find("#width").send_keys(Keys.ARROW_UP)
    page.find("#opacity").send_keys(Keys.END)
    page.find("#help summary").send_keys(" ")
    assert page.place() == before
    assert page.find("#visible").is_selected()
    assert page.find("#help").get_attribute("open")


def test_wheel_moves_the_plane_under_the_pointer(page):
    z, y, x = page.place()
    for name, amount, expected in (
        ("axial", -100, (z + 2, y, x)),
        ("sagittal", 50, (z + 2, y, x - 1)),
    ):
        origin = ScrollOrigin.from_element(page.find(f"#{name} .stage"))
        top = page.run("return scrollY")
        ActionChains(page.browser).scroll_from_origin(origin, 0, amount).perform()
        page.settle()
        assert page.place() == expected
        assert page.run("return scrollY") == top


def test_a_click_moves_the_cross_and_the_other_planes(page, scan):
    depth, height, width = scan.image.shape
    z, y, x = page.place()[0], 20, 70
    page.click("#axial .stage", (x + 0.5) / width, (y + 0.5) / height)
    assert page.place() == (z, y, x)
    assert f"row {y + 1}, column {x + 1}" in page.text("#readout")
    page.press(" ")
    assert_shows(page, scan, "coronal", y)
    assert_shows(page, scan, "sagittal", x)
    page.click("#coronal .stage", 10.5 / width, 0.5 / depth)
    assert page.place() == (depth - 1, y, 10)


def test_readout_says_what_is_under_the_cross(page, scan):
    page.move("axial", 2)
    z, y, x = page.place()
    value = int(re.search(r"([−\d]+) HU", page.text("#readout"))[1].replace("−", "-"))
    assert abs(value - scan.image[z, y, x]) <= 4
    probability = float(re.search(r"probability ([\d.]+)", page.text("#readout"))[1])
    assert probability == pytest.approx(scan.probability[z, y, x], abs=0.01)


def test_burden_curve_gives_areas_and_jumps(page, scan):
    areas = scan.mask.sum((1, 2)) * scan.spacing[1] * scan.spacing[2] / 100
    page.click("#burden div", 0.99, 0.5)
    assert page.place()[0] == len(areas) - 1
    here, most = map(float, re.findall(r"([\d.]+) cm²", page.text("#burden p")))
    assert (here, most) == pytest.approx((areas[-1], areas.max()), rel=0.01)
    heights = re.findall(r"L[\d.]+,([\d.]+)", page.find("#burden path").get_attribute("d"))
    drawn = 100 - np.array(heights[:-1], float)
    np.testing.assert_allclose(drawn / drawn.max(), areas / areas.max(), atol=0.01)
