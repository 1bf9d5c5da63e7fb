"""The site as an operator uses it, in a browser."""

from __future__ import annotations

import json
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.support.browser import field, press, text
from tests.support.installation import Installation
from tests.support.scratch import wait_until
from tests.support.walk import SCREENSHOTS

PASSWORD = "a password of the tests"


def start_site(one: Installation) -> str:
    """Start the site, where the operator ``admin`` has an account; its address."""
    one.environ["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
    one.simcourier("manage", "createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.org")
    one.start("web")
    wait_until(lambda: one.simcourier("health", "web", check=False).returncode == 0, "web answers")
    return f"http://127.0.0.1:{one.environ['SIMCOURIER_WEB_PORT']}"


class Admin:
    """The admin as an operator sees it."""

    def __init__(self, page: WebDriver, address: str) -> None:
        self.page = page
        self.address = address

    def sign_in(self) -> None:
        """With name and password."""
        self.page.get(f"{self.address}/admin/")
        field(self.page, "username").send_keys("admin")
        field(self.page, "password").send_keys(PASSWORD)
        press(self.page, self.page.find_element(By.CSS_SELECTOR, "[type=submit]"))
        assert "Storage backends" in text(self.page, "#content")

    def add(self, identifier: str, *, token: str = "", config: object = None) -> None:
        """Fill in the form and save it; the definition's page follows, or the form with what is wrong."""
        self.page.get(f"{self.address}/admin/simcourier/storagebackend/add/")
        field(self.page, "storage_backend").send_keys(f"Results in {identifier}")
        field(self.page, "storage_backend_id").send_keys(identifier)
        field(self.page, "storage_backend_token").send_keys(token)
        if config is not None:
            field(self.page, "storage_backend_config").clear()
            field(self.page, "storage_backend_config").send_keys(json.dumps(config))
        press(self.page, field(self.page, "_continue"))

    def check(self) -> list[str]:
        """Press the button; what the page says."""
        press(self.page, self.page.find_element(By.CSS_SELECTOR, ".check-backend"))
        return [one.text for one in self.page.find_elements(By.CSS_SELECTOR, ".messagelist li")]

    def wrong_fields(self) -> dict[str, str]:
        """What the form says of each field that it does not take."""
        rows = self.page.find_elements(By.CSS_SELECTOR, ".form-row:has(.errorlist)")
        return {str(row.get_attribute("class")).split("field-")[1].split()[0]: row.text for row in rows}

    def keep_screenshot(self, name: str) -> None:
        """Keep what the window shows, if `SCREENSHOTS` are wanted."""
        if SCREENSHOTS:
            self.page.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))
