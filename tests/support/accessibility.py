"""What axe-core finds on a page: the rules of WCAG that a program can check."""

from __future__ import annotations

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.support.node import NoNode, package_file

SERIOUS = {"serious", "critical"}
RUN = """
const done = arguments[arguments.length - 1];
axe.run().then((found) => done(found.violations.flatMap((one) =>
  one.nodes.map((node) => [one.impact, `${one.id}: ${node.html.slice(0, 200)}`]))));
"""


def serious_barriers(page: WebDriver) -> list[str]:
    """Rule and element of each barrier that is serious or worse. Skips where there is no axe-core."""
    try:
        axe = package_file("axe-core/axe.min.js")
    except NoNode as error:
        pytest.skip(str(error))
    page.execute_script(axe)
    return [told for impact, told in page.execute_async_script(RUN) if impact in SERIOUS]
