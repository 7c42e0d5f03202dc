"""A phantom for the page, and a real browser to open it in."""

import os
import shutil

import numpy as np
import pytest
from scipy import ndimage
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from cosup_jax import phantom
from tests.report.pages import Scan

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb"),
)


@pytest.fixture(scope="session")
def scan():
    """A phantom that is lopsided along every axis, with another number of voxels along each."""
    drawn = phantom.draw_volume(3, size=96, slices=12, infected=True)
    crop = (slice(0, 10), slice(10, 90), slice(None))
    mask = (drawn.mask > 0)[crop]
    soft = ndimage.gaussian_filter(mask.astype(np.float32), (0, 2, 2))
    return Scan(drawn.image[crop], mask, np.clip(soft, 0, 1), drawn.spacing)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium as it comes; where there is none, tests skip unless COSUP_NEEDS_BROWSER is set."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (program and driver):
        missing = "needs chromium and chromedriver (apt-get install chromium chromium-driver)"
        (pytest.fail if os.environ.get("COSUP_NEEDS_BROWSER") else pytest.skip)(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    chromium = webdriver.Chrome(options, Service(driver))
    yield chromium
    chromium.quit()
