"""A real browser, for what only a browser shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 60


@contextmanager
def browser(folder: Path, width: int = 1280, height: int = 1000) -> Iterator[WebDriver]:
    """Chromium with its driver; what it keeps goes into ``folder``. Skips where there is none."""
    driver = shutil.which("chromedriver")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or program is None:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", f"--user-data-dir={folder}", f"--window-size={width},{height}",
    ):  # fmt: skip
        options.add_argument(word)
    running = webdriver.Chrome(options=options, service=Service(driver))
    running.set_page_load_timeout(120)
    try:
        yield running
    finally:
        running.quit()


def field(page: WebDriver, name: str) -> WebElement:
    """A field of the form by its name."""
    return page.find_element(By.NAME, name)


def text(page: WebDriver, selector: str) -> str:
    """What the first element that a CSS selector finds says; empty: there is none."""
    while True:
        found = page.find_elements(By.CSS_SELECTOR, selector)
        with suppress(StaleElementReferenceException):  # the page has put another one in its place: that one is read
            return found[0].text if found else ""


def press(page: WebDriver, button: WebElement) -> None:
    """Click, and wait until the page that follows is there."""
    button.click()
    WebDriverWait(page, SECONDS).until(expected_conditions.staleness_of(button))
    WebDriverWait(page, SECONDS).until(lambda _: page.execute_script("return document.readyState") == "complete")
