"""Reads answers as a browser or a spreadsheet does and names what came alive of the attacks in them."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from typing import Any

from portal.csv_export import FORMULA
from tests.portal.markup.poison import PRODUCT

ADDRESSES = ("href", "src", "action", "formaction", "xlink:href", "hx-get", "hx-post")


class Form:
    """A form with its fields' values as they stand; text fields are listed in `texts`."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.action = attributes.get("action", "")
        self.method = attributes.get("method", "get").lower()
        self.values: dict[str, list[str]] = {}
        self.texts: list[str] = []
        self.buttons: list[tuple[str, str]] = []

    def filled(self, text: str) -> dict[str, list[str]]:
        return self.values | {name: [text] for name in self.texts}


class Page(HTMLParser):
    """What a browser would make of the text: links, forms, and `alive`, the attacks that worked."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.alive: list[str] = []
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._select = ""
        self._script = False
        if PRODUCT in text:
            self.alive.append("a template was made of people's text")
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._script = tag in ("script", "style")
        self._judge(tag, attributes)
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self._collect(tag, attributes)

    def handle_data(self, data: str) -> None:
        if self._script and "zqx" in data:
            self.alive.append(f"in a script or style sheet: {data[:80]}")

    def handle_comment(self, data: str) -> None:
        if "zqx" in data:
            self.alive.append(f"in a comment: {data[:80]}")

    def handle_endtag(self, tag: str) -> None:
        self._script = False
        self._select = "" if tag == "select" else self._select

    def _judge(self, tag: str, attributes: dict[str, str]) -> None:
        if "zqx" in tag:
            self.alive.append(f"an element <{tag}>")
        for name, value in attributes.items():
            if "zqx" in name or name.startswith("on") or (name == "style" and "zqx" in value):
                self.alive.append(f"an attribute {name} of <{tag}>")
            if name in ADDRESSES and value.strip().lower().startswith("javascript:"):
                self.alive.append(f"{name} of <{tag}>: {value[:80]}")

    def _collect(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "form":
            self.forms.append(Form(attributes))
        if not self.forms or "disabled" in attributes:
            return
        form, name, value = self.forms[-1], attributes.get("name", ""), attributes.get("value", "")
        kind = attributes.get("type", "text")
        if tag == "button" or (tag == "input" and kind == "submit"):
            form.buttons.append((name, value))
        elif tag == "textarea" or (
            tag == "input" and kind in ("text", "search", "email", "url", "password", "number")
        ):
            form.texts.append(name)
        elif tag == "input" and (kind not in ("checkbox", "radio") or "checked" in attributes):
            form.values.setdefault(name, []).append(value)
        elif tag == "select":
            self._select = name
        elif (
            tag == "option" and self._select and ("selected" in attributes or self._select not in form.values)
        ):
            form.values[self._select] = [value]


def alive(response: Any) -> list[str]:
    """What an answer would let an attack do; [] when nothing."""
    kind = response.get("Content-Type", "").partition(";")[0]
    text = body_of(response)
    if kind == "text/html":
        return Page(text).alive
    found = [] if response.get("X-Content-Type-Options") == "nosniff" else [f"{kind} without nosniff"]
    if kind == "text/csv":
        found += formulas(text)
    return found


def formulas(text: str) -> list[str]:
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    return [f"a formula: {cell[:80]}" for row in rows for cell in row if cell.lstrip(" ").startswith(FORMULA)]


def body_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode("utf-8", "replace"))
