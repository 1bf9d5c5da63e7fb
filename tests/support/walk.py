"""What every page must be for whoever meets it: on a desktop and on a phone, in the light and in the dark."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.support.accessibility import serious_barriers

SCREENSHOTS = os.environ.get("SIMCOURIER_TEST_SCREENSHOTS")
MOST_TABS = 40
BEYOND = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
BLANK = "return [...document.images].filter((one) => one.complete && !one.naturalWidth).map((one) => one.src)"
SMALL_TEXT = """
const small = new Set();
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walk.nextNode(); node; node = walk.nextNode()) {
  const holder = node.parentElement;
  if (node.data.trim() && holder.checkVisibility() && !holder.closest("svg, sup, .glance")
      && parseFloat(getComputedStyle(holder).fontSize) < 11) small.add(node.data.trim().slice(0, 60));
}
return [...small];
"""
# A change of colours takes some frames, on a busy machine for longer; what is looked at is where it ends.
SETTLE = "document.getAnimations().forEach((one) => one.finish())"
FOCUS = """
const held = document.activeElement;
if (!held || held === document.body) return null;
const style = getComputedStyle(held), box = held.getBoundingClientRect();
const ring = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
const seen = box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight;
return [held.outerHTML.slice(0, 120), ring && seen];
"""


class Screen(NamedTuple):
    """What somebody looks at a page with."""

    name: str
    width: int
    height: int
    colours: str


SCREENS = tuple(
    Screen(name, width, height, colours)
    for name, width, height in (("desktop", 1280, 900), ("phone", 390, 844))
    for colours in ("light", "dark")
)


def look(page: WebDriver, name: str, *, refused: bool = False) -> list[str]:
    """What is wrong with the page that is open, on each of `SCREENS`; its screenshots are kept if they are wanted.

    Args:
        name: of the screenshots.
        refused: the server refuses this page, which the browser's console tells as well.
    """
    troubles = [f"{name}, console: {line}" for line in _console(page) if not (refused and page.current_url in line)]
    for screen in SCREENS:
        with _seen_on(page, screen):
            found = [*_shown(page), *(_focus(page) if screen == SCREENS[0] else ())]
            troubles += [f"{name}, {screen.name}, {screen.colours}: {trouble}" for trouble in found]
            if SCREENSHOTS:
                _keep(page, Path(SCREENSHOTS) / f"{name}-{screen.name}-{screen.colours}.png", screen)
    _console(page)  # which has noted by now that axe-core's own styles are not let in
    return troubles


def _shown(page: WebDriver) -> Iterator[str]:
    beyond = page.execute_script(BEYOND)
    if beyond > 0:
        yield f"{beyond} pixels wider than the screen"
    yield from (f"a picture that does not show: {source}" for source in page.execute_script(BLANK))
    yield from (f"too small to be read: {words}" for words in page.execute_script(SMALL_TEXT))
    yield from serious_barriers(page)


def _focus(page: WebDriver) -> Iterator[str]:
    """Elements that the tab key reaches without anybody seeing where the keyboard is."""
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    met: set[str] = set()
    for _ in range(MOST_TABS):
        ActionChains(page).send_keys(Keys.TAB).perform()
        held = page.execute_script(FOCUS)
        if held is None:
            break
        element, visible = held
        if not visible and element not in met:
            yield f"no visible focus: {element}"
        met.add(element)
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")


def _console(page: WebDriver) -> list[str]:
    console: Any = page
    return [entry["message"] for entry in console.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def _seen_on(page: WebDriver, screen: Screen) -> Iterator[None]:
    chromium: Any = page
    metrics = {"width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.width < 500}
    media = [{"name": "prefers-color-scheme", "value": screen.colours}]
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    page.execute_script(SETTLE)
    try:
        yield
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _keep(page: WebDriver, file: Path, screen: Screen) -> None:
    """The whole page, also what one has to scroll to."""
    chromium: Any = page
    height = max(screen.height, page.execute_script("return document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": screen.width, "height": min(height, 4000), "scale": 1}
    shot = chromium.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "clip": clip, "captureBeyondViewport": True}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(shot["data"]))
