"""Mails on a telephone: nothing stands outside of the page, and every number is seen."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

import ledger
from tests.integration import test_mail_digest as digests
from tests.integration import test_mail_text as runs
from tests.support.browser import browser
from tests.support.ledger import settings_for

PHONE = 375
OUTSIDE = """
const said = [...document.querySelectorAll("td, th, p, li, h1, h2")].filter(one => one.innerText.trim());
return [document.documentElement.scrollWidth, said.filter(one => {
  const place = document.createRange();
  place.selectNodeContents(one);
  return place.getBoundingClientRect().right > document.documentElement.clientWidth;
}).map(one => one.innerText)];
"""


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with browser(tmp_path_factory.mktemp("browser"), 1000, 900) as driver:
        size = {"width": PHONE, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver


def outside(phone: WebDriver, mail: EmailMessage, folder: Path) -> list[str]:
    """What can be read only by scrolling sideways."""
    (folder / "mail.html").write_text(runs.parts(mail)[1], "utf-8")
    phone.get((folder / "mail.html").as_uri())
    width, said = phone.execute_script(OUTSIDE)
    assert width <= PHONE
    return list(said)


def test_names_without_a_blank_leave_room_for_their_numbers(phone: WebDriver, tmp_path: Path) -> None:
    ledger.setup(settings_for(tmp_path))
    from ledger.api import Compared

    module = "RSUExampleScenario.node[*].nic.mac1609_4"
    mail = runs.render(
        tmp_path,
        {"title": "TheTitleOfARunThatHasNoBlankAnywhereInItAndIsLong"},
        statistics=(
            Compared(f"DroppedPacketsInMac, {module}, mean of 66", "0", "", 0.0, 4, 1.0, 2.0, 3.0),
            Compared(f"acceleration, {module}.veinsmobilityOfTheNode, vector mean, mean of 71", "\u22120.02835"),
            Compared("x" * 80, "12.34 ms"),
            Compared("serverChannelState:vector, Aloha.server", "IDLE 89.5 %, TRANSMISSION 9.5 %"),
        ),
        notes=("The folder has a file results/" + "0123456789" * 6 + ".vec that nobody can read.",),
    )

    assert outside(phone, mail, tmp_path) == []


@pytest.mark.parametrize("parameters", [1, 2, 3, 6])
def test_a_study_s_numbers_are_seen_however_many_parameters_it_has(
    phone: WebDriver, tmp_path: Path, parameters: int
) -> None:
    labels = (
        "lifeTime, Mm1.sink, mean",
        "queueLength, Mm1.queue, mean over time",
        "utilization, Mm1.server",
        "dropped:count, Mm1.queue",
    )
    ledger.setup(settings_for(tmp_path))
    told = [
        digests.outcome(
            number,
            {f"parameter{place}": number // 3 * place for place in range(1, parameters + 1)} | {"seed": number % 3},
            statistics=tuple({"label": label, "unit": "s", "number": 0.076 * (number + 1)} for label in labels),
            data={"outcome": "failed" if number == 4 else "succeeded"},
        )
        for number in range(9)
    ]

    assert outside(phone, digests.render(*told), tmp_path) == []
    assert phone.execute_script("return document.body.innerText").count("\u00b1") == 3 * len(labels) + 1
