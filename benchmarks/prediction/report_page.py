"""What a report's page costs: size, what the volume loses, and seconds to write and to open it.

    python benchmarks/prediction/report_page.py --slices 300 --size 512 --budgets 5 10 15

Prints Markdown. The scan is a phantom with its own mask and a blurred copy as the probability; the
loss is the mean distance of the shown values from the phantom's, inside the lungs. A page is opened
in Chromium, if there is one with its driver, from the disk until all slices can be shown.
"""

import argparse
import base64
import io
import json
import re
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait
from tqdm import tqdm

from cosup_jax import phantom
from cosup_jax.report import write_page


def main() -> None:
    """Writes a page for each budget, opens it, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512, help="pixels a side")
    parser.add_argument("--budgets", type=float, nargs="+", default=[5, 10, 15], help="MB")
    arguments = parser.parse_args()
    scan = phantom.draw_volume(3, size=arguments.size, slices=arguments.slices, infected=True)
    mask = scan.mask > 0
    probability = np.empty(mask.shape, np.float32)
    for soft, part in zip(tqdm(probability, "blur", leave=False), mask, strict=True):
        ndimage.gaussian_filter(part.astype(np.float32), 3, output=soft)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scan.html")
        for budget in arguments.budgets:
            start = time.perf_counter()
            write_page(
                path,
                title="phantom 3",
                volume=scan.image,
                mask=mask,
                probability=probability.clip(0, 1),
                spacing=scan.spacing,
                findings={},
                provenance={},
                budget_bytes=round(budget * 1e6),
            )
            written = time.perf_counter() - start
            rows.append(
                f"| {budget:g} MB | {path.stat().st_size / 1e6:.1f} MB | {shown(path, scan)} | "
                f"{written:.1f} | {opened(path)} |"
            )
    print(f"{arguments.slices} slices of {arguments.size}²\n")
    print("| budget | file | pixels | WebP quality | loss in HU | s to write | s to open |")
    print("| --- | --- | --- | --- | --- | --- | --- |", *rows, sep="\n")


def shown(path: Path, scan: phantom.PhantomVolume) -> str:
    """Returns the pixels, quality and loss of the volume in a page, as cells of the table."""
    page = path.read_text()
    settings = json.loads(re.search(r'id="settings">(.*?)</script>', page)[1])
    data = base64.b64decode(re.search(r'id="image-data">(.*?)</script>', page)[1])
    layer, levels = settings["layers"]["image"], np.array(settings["levels"])
    ends = np.cumsum(layer["lengths"])
    losses = []
    for z in range(0, len(ends), max(1, len(ends) // 30)):
        file = data[ends[z] - layer["lengths"][z] : ends[z]]
        with Image.open(io.BytesIO(file)) as picture:
            whole = picture.convert("L").resize(scan.image.shape[:0:-1], Image.Resampling.BILINEAR)
        loss = np.abs(levels[np.asarray(whole)] - scan.image[z])
        losses.append(loss[scan.lung[z] > 0])
    height, width = layer["size"]
    quality = re.search(r"WebP, quality (\d+)", page)
    loss = np.concatenate(losses).mean()
    return f"{width} × {height} | {quality[1] if quality else 'no loss'} | {loss:.1f}"


def opened(path: Path) -> str:
    """Returns the seconds until Chromium shows the slices of a page."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        return "no Chromium"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(option)
    with webdriver.Chrome(options, Service(driver)) as browser:
        start = time.perf_counter()
        browser.get(path.as_uri())
        WebDriverWait(browser, 300, 0.05).until(
            lambda _: browser.execute_script(
                "return document.querySelector('#status:not(.problem)') === null"
            )
        )
        if problems := browser.find_elements("css selector", ".problem"):
            raise RuntimeError(f"{path}: {problems[0].text}")
        return f"{time.perf_counter() - start:.1f}"


if __name__ == "__main__":
    main()
