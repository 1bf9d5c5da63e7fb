"""A plot as a PNG, for mails: many of their readers show no SVG.

It knows what `consumer.report.svg` writes and nothing else; colours are those of ``plot.css`` on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from xml.etree import ElementTree as ET

from PIL import Image, ImageDraw, ImageFont

from consumer.report.plots import Plot
from consumer.report.svg import WIDTH, Chart
from messaging.spelling import in_ascii

SCALE = 2  # pixels per unit: sharp on the screens of phones
_FINE = 2  # shapes are drawn so many times larger, and shrunk, so that their edges are smooth
_COLOURS = 32
_FONT_SIZE = 11  # units
_FONT = "DejaVuSans.ttf"  # of the system; Pillow's own knows ASCII alone

_FIRST = ("replications", "vectors", "histograms", "observations", "modules", "shares", "each")
_TOKEN = re.compile(r"([MLHVhZ])([-0-9. ]*)")
_DATA, _QUIET, _MARK, _SOFT = "#1f5fa8", "#566272", "#b3470b", "#f0f3f7"
_FILLS = {
    "band": "#cddbec", "interval": "#b1c7e0", "bar": "#3b78bd", "point": _DATA, "track": _SOFT, "warm-up": _SOFT,
    "c0": "#1f5fa8", "c1": "#c8641b", "c2": "#2a8a78", "c3": "#a23b72", "c4": "#d9a514", "c5": "#6b55b5",
    "c6": "#6d8f2f", "c7": "#5aa9d6", "other": "#9aa4b1",
}  # fmt: skip
_STROKES = {
    "grid": ("#dfe3e9", 1.0), "axis": (_QUIET, 1.0), "line": (_DATA, 1.6), "mark": (_MARK, 1.2),
    "whisker": (_QUIET, 1.2), "dots": ("#6291c5", 2.6),
}  # fmt: skip
_TEXTS = {"tick": _QUIET, "unit": _QUIET, "quiet": _QUIET, "note": _MARK}

Point = tuple[float, float]


def chosen(plots: Sequence[Plot], most: int) -> list[Plot]:
    """The plots that say most in the least room: the first of each kind, what several runs have in common first."""
    firsts = {group: next((plot for plot in plots if plot.group == group), None) for group in _FIRST}
    return [plot for plot in firsts.values() if plot is not None][:most]


def png(chart: Chart) -> bytes:
    """The drawing on white, small enough to be mailed."""
    root = ET.fromstring(f"<svg>{chart.body}</svg>")  # noqa: S314 - written by ourselves, every text escaped
    fine = SCALE * _FINE
    large = Image.new("RGB", (WIDTH * fine, chart.height * fine), "white")
    draw = ImageDraw.Draw(large)
    shapes = [each for each in root if each.tag != "text"]
    for each in sorted(shapes, key=lambda one: _kind(one) not in {"band", "warm-up"}):  # the rest lies upon these
        _shape(draw, each, fine)
    image = large.reduce(_FINE)
    draw = ImageDraw.Draw(image)
    for each in root.iter("text"):
        _text(draw, each)
    stream = io.BytesIO()
    image.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(stream, "PNG")
    return stream.getvalue()


def _kind(element: ET.Element) -> str:
    return element.get("class", "").partition(" ")[0]


def _shape(draw: ImageDraw.ImageDraw, element: ET.Element, scale: int) -> None:
    kind = _kind(element)
    at = {name: float(value) * scale for name, value in element.items() if name not in {"class", "d"}}
    match element.tag:
        case "rect" if at["width"] > 0 and at["height"] > 0:
            corners = (at["x"], at["y"], at["x"] + at["width"] - 1, at["y"] + at["height"] - 1)
            draw.rectangle(_ordered(corners), fill=_FILLS.get(kind, _DATA))
        case "circle":
            x, y, radius = at["cx"], at["cy"], at["r"]
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_FILLS.get(kind, _DATA))
        case "path":
            _path(draw, kind, _lines(element.get("d", ""), scale), scale)


def _path(draw: ImageDraw.ImageDraw, kind: str, lines: list[list[Point]], scale: int) -> None:
    colour, width = _STROKES.get(kind, (_DATA, 1.6))
    thick = max(1, round(width * scale))
    for points in lines:
        if kind in _FILLS:
            if len(points) > 2:  # noqa: PLR2004
                draw.polygon(points, fill=_FILLS[kind])
        elif kind == "dots":
            (x, y), radius = points[0], width * scale / 2
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        elif kind == "mark":
            _dashed(draw, points, colour, thick, scale)
        else:
            draw.line(points, fill=colour, width=thick, joint="curve")


def _dashed(draw: ImageDraw.ImageDraw, points: list[Point], colour: str, thick: int, scale: int) -> None:
    """A straight line of dashes, four units long with three between."""
    (x1, y1), (x2, y2) = points[0], points[-1]
    length = max(abs(x2 - x1), abs(y2 - y1))
    for start in range(0, int(length), 7 * scale):
        end = min(start + 4 * scale, length)
        one, other = start / length, end / length
        draw.line(
            [(x1 + one * (x2 - x1), y1 + one * (y2 - y1)), (x1 + other * (x2 - x1), y1 + other * (y2 - y1))],
            fill=colour,
            width=thick,
        )


def _lines(commands: str, scale: int) -> list[list[Point]]:
    """The lines of a path, each a row of points."""
    lines: list[list[Point]] = []
    x = y = 0.0
    for command, numbers in _TOKEN.findall(commands):
        values = [float(each) for each in numbers.split()]
        match command:
            case "M":
                x, y = values
                lines.append([])
            case "L":
                x, y = values
            case "H":
                (x,) = values
            case "V":
                (y,) = values
            case "h":
                x += values[0]
            case _:  # Z closes what is filled anyway
                continue
        lines[-1].append((x * scale, y * scale))
    return [points for points in lines if len(points) > 1]


def _text(draw: ImageDraw.ImageDraw, element: ET.Element) -> None:
    kinds = element.get("class", "").split()
    colour = next((_TEXTS[kind] for kind in kinds if kind in _TEXTS), "#1b2430")
    anchor = "rs" if "end" in kinds else "ms" if "middle" in kinds else "ls"
    x, y = float(element.get("x", "0")) * SCALE, float(element.get("y", "0")) * SCALE
    font, complete = _font()
    words = element.text or ""
    halo = 3 * SCALE // 2 if "halo" in kinds else 0
    draw.text(
        (x, y),
        words.replace("\u202f", " ") if complete else in_ascii(words),
        fill=colour,
        font=font,
        anchor=anchor,
        stroke_width=halo,
        stroke_fill="white",
    )


@cache
def _font() -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """What is written with, and whether it knows more than ASCII."""
    try:
        return ImageFont.truetype(_FONT, _FONT_SIZE * SCALE - 1), True
    except OSError:
        return ImageFont.load_default(_FONT_SIZE * SCALE), False


def _ordered(corners: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A shape thinner than a pixel is one."""
    x1, y1, x2, y2 = corners
    return x1, y1, max(x1, x2), max(y1, y2)
