"""Reads the dictionary of SMTP codes (`data/smtp_codes.yaml`), once."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from gateway.rules.codes import LANGUAGES, CodeDictionary, CodeEntry, CodeText, Who, build

FILE = Path(__file__).parent / "data" / "smtp_codes.yaml"


@lru_cache(maxsize=1)
def code_dictionary() -> CodeDictionary:
    """The dictionary that ships with the gateway. Raises ValueError, KeyError or re.error if the file is wrong."""
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> CodeDictionary:
    """The dictionary in a YAML text."""
    return build(_entry(values) for values in yaml.safe_load(text))


def _entry(values: dict[str, Any]) -> CodeEntry:
    unknown = set(values) - _KNOWN
    if unknown:
        raise ValueError(f"{values.get('key')}: unknown {', '.join(sorted(unknown))}")
    return CodeEntry(
        key=values["key"],
        who=Who(values["who"]),
        retry=bool(values["retry"]),
        texts={language: _text(values[language]) for language in LANGUAGES},
        provider=values.get("provider", ""),
        patterns=tuple(re.compile(pattern, re.IGNORECASE) for pattern in values.get("text", ())),
        code_class=int(values.get("class", 0)),
        enhanced=tuple(values.get("enhanced", ())),
        basic=tuple(values.get("basic", ())),
        reasons=tuple(values.get("reasons", ())),
    )


def _text(values: dict[str, Any]) -> CodeText:
    return CodeText(title=values["title"], meaning=values["meaning"], steps=tuple(values["steps"]))


_KNOWN = {"key", "who", "retry", "provider", "text", "class", "enhanced", "basic", "reasons", *LANGUAGES}
