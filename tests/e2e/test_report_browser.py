"""The report in a real browser: nothing runs, nothing is fetched, and a phone is wide enough."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest
from selenium import webdriver

from consumer.report.write import write
from tests.support import summaries
from tests.support.browser import browser

HOSTILE = ("<script>document.title = 'ran'</script>", "</style><b onload=x>", "\u202e", "x" * 10_240, "{{ 1 }}", "")


@pytest.mark.full
@pytest.mark.parametrize("width", [390, 1280])
def test_a_report_with_hostile_names_runs_nothing_fetches_nothing_and_fits_the_screen(
    width: int, tmp_path: Path
) -> None:
    texts = cycle(HOSTILE)
    for name, made in (("tame", summaries.queueing()), ("many", summaries.campaign())):
        write(made, tmp_path / name)
    wild = summaries.altered(summaries.queueing(), text=lambda text: next(texts) + text)
    write(wild, tmp_path / "wild")

    with browser(tmp_path / "browser", width=width) as page:
        assert isinstance(page, webdriver.Chrome)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        for name in ("tame", "many", "wild"):
            page.get((tmp_path / name / "report.html").as_uri())

            assert page.title.endswith("simulation results")
            beyond = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.execute_script(beyond) == 0
            assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
            assert page.execute_script("return document.querySelectorAll('script, [onload]').length") == 0
            ground = page.execute_script("return getComputedStyle(document.querySelector('.state')).display")
            assert ground == "flex"  # the policy lets the page's own style sheet through
            if name == "many":
                value = "return document.querySelector('tr:has(.of-run) td.number').getBoundingClientRect().right"
                runs = "return document.querySelector('.of-run').checkVisibility()"
                assert page.execute_script(value) <= width, "the first number of a table is seen without moving it"
                assert page.execute_script(runs) is (width < 500), "beside it, or in a column of its own"
            assert page.get_log("browser") == []  # type: ignore[no-untyped-call]  # selenium leaves it so
