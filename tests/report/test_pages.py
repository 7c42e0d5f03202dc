"""Pages of all kinds in a real browser: small screens, dark rooms, odd scans and hostile names."""

import re

import numpy as np
import pytest

from tests.report.pages import Page, write

HOSTILE = (
    "</title></script><script>document.title = 'taken'</script>"
    "<img src=x onerror=\"document.title='taken'\">"
)


def opened(browser, path, **screen):
    page = Page(browser, path, **screen)
    assert page.errors() == []
    return page


def test_fits_a_phone(browser, scan, tmp_path):
    page = opened(browser, write(tmp_path / "scan.html", scan), width=360, height=740)
    assert page.run("return document.documentElement.scrollWidth") <= 360
    for name in ("axial", "coronal", "sagittal"):
        box = page.find(f"#{name} .stage").rect
        assert 300 < box["width"] <= 360
        assert page.find(f"#{name} input").rect["height"] >= 24
    for button in page.browser.find_elements("css selector", "button"):
        assert button.rect["height"] >= 40
        assert button.rect["x"] + button.rect["width"] <= 360
    page.click("#axial .stage", 24.5 / 96, 20.5 / 80)
    assert page.place()[1:] == (20, 24)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(browser, scan, tmp_path, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    page = opened(browser, write(tmp_path / "scan.html", scan))
    ratios = page.run(
        """const luminance = (colour) => {
          const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (element) => {
          const colour = getComputedStyle(element).backgroundColor;
          return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
        };
        const texts = "h1, p, th, td, dt, dd, li, label, button, summary, span";
        const shown = [...document.querySelectorAll(texts)].filter((e) => e.offsetParent);
        return shown.map((element) => {
          const [low, high] = [getComputedStyle(element).color, behind(element)]
            .map(luminance).sort((a, b) => a - b);
          return (high + 0.05) / (low + 0.05);
        });"""
    )
    page_is_dark = (
        np.array(
            re.findall(r"\d+", page.run("return getComputedStyle(document.body).backgroundColor")),
            int,
        ).mean()
        < 128
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page_is_dark == (scheme == "dark")
    assert len(ratios) > 30
    assert min(ratios) >= 4.5


def test_every_control_has_a_name(browser, scan, tmp_path):
    page = opened(browser, write(tmp_path / "scan.html", scan))
    page.choose("styles", "probability")
    controls = page.browser.find_elements("css selector", "input, button, summary, [role=img]")
    assert len(controls) > 15
    assert [c.get_attribute("outerHTML") for c in controls if not c.accessible_name.strip()] == []


def test_no_text_becomes_markup(browser, scan, tmp_path):
    page = opened(
        browser,
        write(
            tmp_path / "scan.html",
            scan,
            title=HOSTILE,
            findings={HOSTILE: HOSTILE, "lung_percent": None},
            reasons={"lung_percent": HOSTILE},
            provenance={HOSTILE: HOSTILE, "settings": "</script>$title"},
            notes=[HOSTILE],
        ),
    )
    assert page.text("h1") == HOSTILE
    assert page.run("return document.title").startswith(HOSTILE)
    assert page.text("#findings").count(HOSTILE) == 3
    assert page.text("#provenance").count(HOSTILE) == 2
    assert page.text("#notes").count(HOSTILE) == 1
    assert page.run("return document.querySelectorAll('img').length") == 0


def test_long_words_do_not_widen_the_page(browser, scan, tmp_path):
    word = "scan" * 100
    texts = {
        "title": word,
        "findings": {word: word},
        "provenance": {word: word},
        "notes": [word],
    }
    page = opened(browser, write(tmp_path / "scan.html", scan, **texts), width=360)
    assert page.run("return document.documentElement.scrollWidth") <= 360


def test_scripts_that_are_not_the_pages_own_do_not_run(browser, scan, tmp_path):
    path = write(tmp_path / "scan.html", scan)
    foreign = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x.png'>"
    path.write_text(path.read_text().replace("<main>", f"{foreign}<main>"))
    page = Page(browser, path)
    complaints = page.errors()
    assert page.run("return document.title") == "phantom 3 · infection report"
    assert len(complaints) == 2
    assert all("Content Security Policy" in text for text in complaints)


def test_over_budget_the_page_loses_detail_and_says_so_but_keeps_the_mask(browser, scan, tmp_path):
    exact = write(tmp_path / "exact.html", scan).stat().st_size
    path = write(tmp_path / "small.html", scan, budget_bytes=exact * 5 // 8)
    assert path.stat().st_size <= exact * 5 // 8
    page = opened(browser, path)
    assert re.search(r"compressed with loss \(WebP, quality \d\d\)", page.text("#notes"))
    assert "≈" in page.text("#readout")
    page.press(" ")
    z = page.place()[0]
    expected = 255 * np.clip((scan.image[z] + 600.0) / 1500 + 0.5, 0, 1)
    assert np.abs(page.pixels("axial")[..., 0] - expected).mean() < 12
    page.press(" ")
    coloured = np.ptp(page.pixels("axial"), axis=-1) > 20
    np.testing.assert_array_equal(coloured, scan.mask[z])


def test_grey_slices_of_unknown_size_without_probability(browser, scan, tmp_path):
    image = np.clip((scan.image + 1000) / 6, 0, 255).astype(np.uint8)
    changes = {"volume": image, "probability": None, "spacing": None, "intensity": "grey"}
    page = opened(browser, write(tmp_path / "scan.html", scan, **changes))
    names = [b.text for b in page.browser.find_elements("css selector", "#tools button")]
    assert names == ["Full", "Contrast", "Filled", "Outline"]
    page.press(" ")
    z, y, x = page.place()
    np.testing.assert_allclose(page.pixels("axial")[..., 0], image[z], atol=1)
    assert f"grey level {image[z, y, x]}" in page.text("#readout")
    assert "HU" not in page.text("#readout")
    assert "pixels" in page.text("#burden p")
    assert "drawn as cubes" in page.text("#notes")
    box = page.find("#coronal .stage").rect
    assert box["width"] / box["height"] == pytest.approx(9.6, rel=0.05)


@pytest.mark.parametrize(("why", "doubt"), [("pictures <do> not say", "?"), ("", "")])
def test_sides_that_nobody_knows_have_a_question_mark(browser, scan, tmp_path, why, doubt):
    page = opened(browser, write(tmp_path / "scan.html", scan, no_sides=why))
    marks = page.browser.find_elements("css selector", "#planes abbr")
    assert {mark.text for mark in marks} == {side + doubt for side in "RLAPHF"}
    assert {mark.get_attribute("title")[-1] for mark in marks} & {"?"} == {*doubt}
    assert page.text(".ends") == f"feet{doubt}head{doubt}"
    label = page.find("#axial input").accessible_name
    assert label == f"Axial slice, from the feet to the head{doubt}"
    assert ("hence the question marks: pictures <do> not say." in page.text("#notes")) == bool(why)


def test_one_slice_without_infection(browser, scan, tmp_path):
    one = {"volume": scan.image[:1], "mask": np.zeros_like(scan.mask[:1]), "probability": None}
    page = opened(browser, write(tmp_path / "scan.html", scan, **one))
    shown = [page.find(f"#{name}").is_displayed() for name in ("axial", "coronal", "sagittal")]
    assert shown == [True, False, False]
    assert not page.find("#axial input").is_displayed()
    assert page.text("#geometry").startswith("1 slice of 96 × 80 pixels")
    assert page.text("#burden p") == "No infection is marked in any slice"
    page.click("#axial .stage", 0.3, 0.3)
    assert "not marked" in page.text("#readout")
    expected = 255 * np.clip((scan.image[0] + 600.0) / 1500 + 0.5, 0, 1)
    np.testing.assert_allclose(page.pixels("axial")[..., 0], expected, atol=1.5)


def test_a_damaged_page_says_so(browser, scan, tmp_path):
    path = write(tmp_path / "scan.html", scan)
    html = path.read_text()
    start = html.index('id="image-data">') + len('id="image-data">')
    path.write_text(f"{html[:start]}{'A' * 4000}{html[start + 4000 :]}")
    page = Page(browser, path)
    assert page.text("#status").startswith("The slices cannot be shown")
    assert page.text("#findings tbody tr td") == "812.5 mL"


@pytest.mark.parametrize("value", ["255", "Math.random() * 256"])
def test_a_browser_that_alters_what_is_read_is_found_out(browser, scan, tmp_path, value):
    path = write(tmp_path / "scan.html", scan)
    altered = f"""const read = CanvasRenderingContext2D.prototype.getImageData;
    CanvasRenderingContext2D.prototype.getImageData = function (...box) {{
      const picture = read.apply(this, box);
      for (let i = 0; i < picture.data.length; i += 1) picture.data[i] = {value};
      return picture;
    }};"""
    add = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": altered})
    try:
        page = Page(browser, path)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", add)
    assert "alters the pictures" in page.text("#status")
    assert not page.find("#planes").is_displayed()


def test_findings_can_be_read_without_scripts(browser, scan, tmp_path):
    path = write(tmp_path / "scan.html", scan)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(path.as_uri())
        rows = [row.text for row in browser.find_elements("css selector", "#findings tr")]
        note = browser.find_element("css selector", "noscript").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert rows == [
        "Infected volume 812.5 mL",
        "Infected share of the lungs no lung was found",
        "Separate lesions 3",
    ]
    assert "need JavaScript" in note
