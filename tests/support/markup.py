"""A page as a tree, with a parser that accepts no tag left open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input"}
CLOSED = {"path", "rect", "circle"}  # of SVG: written with a slash


@dataclass
class Element:
    """One element, or a piece of text where ``tag`` is empty."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    own: str = ""

    def all(self, tag: str = "") -> Iterator[Element]:
        """Elements below, in the page's order."""
        for child in self.children:
            if child.tag and tag in {"", child.tag}:
                yield child
            yield from child.all(tag)

    @property
    def text(self) -> str:
        """All text in and below, as it stands."""
        return self.own + "".join(child.text for child in self.children)

    @property
    def words(self) -> str:
        """All text in and below, with a blank between elements; spaces that do not break stay."""
        return " ".join(
            filter(None, re.split("[ \t\n]+", " ".join([self.own, *(each.words for each in self.children)])))
        )


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in CLOSED, f"<{tag}/> is no SVG"
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(Element("", own=data))

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is left open"


def parsed(page: str) -> Element:
    """The page; an assertion fails where tags do not match."""
    tree = _Tree()
    tree.feed(page)
    tree.close()
    return tree.root
