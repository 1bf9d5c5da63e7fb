"""SVG elements with classes for ``plot.css``; texts are escaped, and places rounded to what a screen shows."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from consumer.report.plain import one_line, shown
from messaging.visible import shortened

WIDTH = 360  # units of every drawing: readable on a phone
LEFT, RIGHT, TOP, BOTTOM = 46, 344, 20, 162  # of a plot with axes
HEIGHT = 190
LONGEST_UNIT = 18  # characters
CHARACTER = 5.8  # units, about the width of one at the size of the labels


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing without its frame.

    Args:
        body: SVG elements.
        height: in units, ``WIDTH`` being the width.
        description: what can be seen on it, for those who do not see it.
    """

    body: Markup
    height: int
    description: str


def inline(chart: Chart, name: str, title: str) -> Markup:
    """The drawing as a part of a page that has ``plot.css``.

    Args:
        chart: what is drawn.
        name: an id that no other drawing of the page has.
        title: of the drawing.
    """
    return Markup(
        '<svg role="img" aria-labelledby="{0}-title {0}-desc" viewBox="0 0 {1} {2}">'
        '<title id="{0}-title">{3}</title><desc id="{0}-desc">{4}</desc>{5}</svg>'
    ).format(name, WIDTH, chart.height, shown(title), one_line(chart.description), chart.body)


def alone(chart: Chart, title: str, subtitle: str, css: Markup) -> str:
    """The drawing as a file that opens on its own, with its title written above it."""
    above = 46
    document = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" width="{0}" height="{1}" '
        'viewBox="0 0 {2} {3}">\n<title id="title">{4}</title><desc id="desc">{5}</desc>\n<style>{6}</style>\n'
        '<rect class="ground" width="{2}" height="{3}"/>{7}{8}\n<g transform="translate(0 {9})">{10}</g>\n</svg>\n'
    ).format(
        2 * WIDTH,
        2 * (chart.height + above),
        WIDTH,
        chart.height + above,
        shown(f"{title}, {subtitle}" if subtitle else title),
        one_line(chart.description),
        css,
        text("heading", 8, 20, shortened(one_line(title), 48)),
        text("label", 8, 35, shortened(one_line(subtitle), 60)),
        above,
        chart.body,
    )
    return str(document)


def unit(text: str) -> str:
    """A unit, or what somebody wrote in its place, in the room that there is."""
    return shortened(one_line(text), LONGEST_UNIT)


def path(kind: str, commands: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(kind, commands) if commands else Markup("")


def stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return path(kind, f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}")


def rectangle(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, number(x), number(y), number(max(width, 0.0)), number(max(height, 0.0))
    )


def circle(kind: str, x: float, y: float, radius: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(kind, number(x), number(y), number(radius))


def text(kind: str, x: float, y: float, words: str) -> Markup:
    """Words at a place; `Markup.format` escapes them, as it does everything here."""
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, number(x), number(y), words)


def number(value: float) -> str:
    """A place: a tenth of a unit is finer than any screen shows."""
    rounded = f"{value:.1f}"
    return rounded.removesuffix(".0") if rounded != "-0.0" else "0"
