"""A researcher follows a result on its page, in a browser, on a desktop and on a phone, without an account."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser import browser, press, text
from tests.support.installation import Installation, text_of
from tests.support.scratch import free_ports, wait_until

SCREENSHOTS = os.environ.get("SIMCOURIER_TEST_SCREENSHOTS")


@pytest.mark.full
def test_a_result_is_followed_mailed_again_and_kept_longer_on_its_page(tmp_path: Path, ledger_template: Path) -> None:
    port = free_ports(1)[0]
    site = f"http://localhost:{port}"
    results = tmp_path / "results"
    results.mkdir()
    rows = "".join(f"{number},{number % 7}\n" for number in range(300))
    (results / "delay.csv").write_text(f"time,delay\n{rows}")

    with Installation(
        tmp_path / "data", template=ledger_template, web_port=str(port), public_url=site
    ) as one, browser(tmp_path / "browser", 500, 900) as page:  # fmt: skip
        one.start_cloud()
        one.start("web")
        wait_until(lambda: one.simcourier("health", "web", check=False).returncode == 0, "web answers")
        recorder = one.start("worker", "--no-results")
        one.wait_ready()
        event_id = one.publish(results, title="Queue <b>7</b>")
        wait_until(lambda: one.where(event_id) is not None, "it is written down")
        address = re.search(r"Page: +(\S+)", one.simcourier("where", event_id).stdout)
        assert address

        page.get(address[1])
        assert "It waits in the queue for a worker" in text(page, "#live")
        one.stop(recorder)
        one.start("worker")
        one.start("email-sender")
        wait_until(lambda: "Delivered" in text(page, "#live"), "the page tells that it is delivered, untouched")
        mail = one.wait_for_mail(event_id)
        assert address[1] in text_of(mail)

        assert text(page, "h1") == "Queue <b>7</b>"
        console: Any = page
        assert not [entry for entry in console.get_log("browser") if entry["level"] == "SEVERE"]
        assert all(
            page.execute_script("return arguments[0].naturalWidth", image)
            for image in page.find_elements(By.TAG_NAME, "img")
        )
        wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.execute_script(wide), "nothing reaches beyond a phone's edge"
        press(page, button(page, "Send the mail again"))
        assert "goes out again" in text(page, ".done")
        wait_until(lambda: len(one.mails_about(event_id)) == 2, "the second mail")
        until = f"{datetime.now(UTC).date() + timedelta(days=60):%d %B %Y}"
        press(page, button(page, f"Keep until {until}"))
        assert until in text(page, "dl")

        def lives() -> bool:
            page.get(address[1])
            return f"until {until}, 23:59 UTC" in text(page, "dl")

        wait_until(lives, "the storage service lets the link live as long")
        if SCREENSHOTS:
            page.save_screenshot(str(Path(SCREENSHOTS) / "delivery-page-phone.png"))


def button(page: WebDriver, words: str) -> WebElement:
    return next(one for one in page.find_elements(By.TAG_NAME, "button") if one.text == words)
