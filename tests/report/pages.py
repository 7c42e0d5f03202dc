"""Pages of a phantom, and the eyes and hands of a reader in front of them."""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from cosup_jax.report import write_page

FINDINGS = {"lesion_ml": 812.5, "lung_percent": None, "lesions": 3}


@dataclass
class Scan:
    """What a page shows: (Z, H, W) HU, mask and probability; (z, y, x) mm."""

    image: np.ndarray
    mask: np.ndarray
    probability: np.ndarray
    spacing: tuple[float, float, float]


def write(path: Path, scan: Scan, **changes) -> Path:
    """Writes a page of a scan with some arguments changed."""
    arguments = {
        "title": "phantom 3",
        "volume": scan.image,
        "mask": scan.mask,
        "probability": scan.probability,
        "spacing": scan.spacing,
        "findings": FINDINGS,
        "reasons": {"lung_percent": "no lung was found"},
        "provenance": {"weights": "none", "command": "python -m cosup_jax predict a.nii"},
    }
    write_page(path, **{**arguments, **changes})
    return path


class Page:
    """An opened page, with the eyes and hands of a reader."""

    def __init__(self, browser: webdriver.Chrome, path: Path, width: int = 1200, height: int = 900):
        self.browser = browser
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get_log("browser")
        browser.get(path.as_uri())
        WebDriverWait(browser, 30).until(
            lambda _: self.run("return document.querySelector('#status:not(.problem)') === null")
        )
        self.settle()

    def run(self, script: str, *arguments):
        """Runs JavaScript in the page and returns its result."""
        return self.browser.execute_script(script, *arguments)

    def settle(self) -> None:
        """Waits for what is due with the next frame."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));"
        )

    def find(self, selector: str):
        """Returns the one element."""
        return self.browser.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Returns the text of an element as it stands in the page."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def pixels(self, plane: str) -> np.ndarray:
        """Returns what a plane shows, (H, W, 3) int."""
        self.settle()
        height, width, data = self.run(
            """const canvas = document.querySelector(`#${arguments[0]} .stage canvas`);
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d");
            copy.drawImage(canvas, 0, 0);
            const { data } = copy.getImageData(0, 0, width, height);
            let text = "";
            for (const value of data) text += String.fromCharCode(value);
            return [height, width, btoa(text)];""",
            plane,
        )
        flat = np.frombuffer(base64.b64decode(data), np.uint8)
        return flat.reshape(height, width, 4)[..., :3].astype(int)

    def press(self, *keys: str) -> None:
        """Presses keys with nothing in the page focused."""
        self.run("document.activeElement.blur()")
        self.find("body").send_keys(*keys)
        self.settle()

    def choose(self, group: str, name: str) -> None:
        """Presses the button of a name, which then is the chosen one of its group."""
        buttons = self.browser.find_elements("css selector", f"#{group} button")
        (button,) = [button for button in buttons if button.text.lower() == name]
        button.click()
        self.settle()
        pressed = [b.text.lower() for b in buttons if b.get_attribute("aria-pressed") == "true"]
        assert pressed == [name]

    def click(self, selector: str, across: float, down: float) -> None:
        """Clicks into an element at shares of its width and height."""
        element = self.find(selector)
        box = element.rect
        x, y = round((across - 0.5) * box["width"]), round((down - 0.5) * box["height"])
        ActionChains(self.browser).move_to_element_with_offset(element, x, y).click().perform()
        self.settle()

    def place(self) -> tuple[int, int, int]:
        """Returns (z, y, x) of the cross, counted from 0."""
        values = self.run(
            """return ["axial", "coronal", "sagittal"].map(
              (name) => document.querySelector(`#${name} input`).valueAsNumber - 1)"""
        )
        return tuple(map(int, values))

    def move(self, plane: str, index: int) -> None:
        """Moves a plane's slider to an index counted from 0, as dragging does."""
        self.run(
            """const slider = document.querySelector(`#${arguments[0]} input`);
            slider.value = arguments[1] + 1;
            slider.dispatchEvent(new Event("input"));""",
            plane,
            index,
        )
        self.settle()

    def errors(self) -> list[str]:
        """Returns what the console complains about, of this page since it was last asked."""
        return [entry["message"] for entry in self.browser.get_log("browser")]
