"""German is complete: every text that the code and the templates mark has a translation, with the same blanks."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from portal.customer.help import PAGES

CATALOGUES = ("portal/locale/de/LC_MESSAGES/django.po", "blacklist/locale/de/LC_MESSAGES/django.po")
BLANK = re.compile(r"%\(\w+\)[sd]|%[sd]")
LINE = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?) (".*")$')


@dataclass
class Entry:
    texts: dict[str, str] = field(default_factory=dict)
    is_fuzzy: bool = False

    @property
    def source(self) -> str:
        return self.texts.get("msgid", "")

    @property
    def translations(self) -> list[str]:
        return [text for key, text in self.texts.items() if key.startswith("msgstr")]


def read(text: str) -> Iterator[Entry]:
    for block in text.split("\n\n"):
        entry, key = Entry(is_fuzzy="\n#, fuzzy" in f"\n{block}"), ""
        for line in block.splitlines():
            found = LINE.match(line)
            key = found.group(1) if found else key
            if found or line.startswith('"'):
                entry.texts[key] = entry.texts.get(key, "") + ast.literal_eval(
                    found.group(2) if found else line
                )
        if entry.source:
            yield entry


@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_nothing_is_untranslated_or_guessed(catalogue: str, root_dir: Path) -> None:
    entries = list(read((root_dir / catalogue).read_text(encoding="utf-8")))
    assert len(entries) > 100
    assert [entry.source for entry in entries if entry.is_fuzzy or not all(entry.translations)] == []


@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_the_blanks_are_the_same(catalogue: str, root_dir: Path) -> None:
    for entry in read((root_dir / catalogue).read_text(encoding="utf-8")):
        wanted = {*BLANK.findall(entry.source), *BLANK.findall(entry.texts.get("msgid_plural", ""))}
        for translation in entry.translations:
            assert set(BLANK.findall(translation)) <= wanted, entry.source
        assert set(BLANK.findall(entry.translations[-1])) == wanted, entry.source


@pytest.mark.skipif(
    shutil.which("xgettext") is None, reason="gettext is not installed (Debian package gettext)"
)
@pytest.mark.slow
def test_every_marked_text_is_in_a_catalogue(tmp_path: Path, root_dir: Path) -> None:
    """What makemessages finds now, compared with what is there."""
    copy = tmp_path / "tree"
    kept = ("gateway", "blacklist", "portal", "templates", "manage.py")
    for name in kept:
        source = root_dir / name
        ignore = shutil.ignore_patterns("__pycache__", "*.bin", "*.mo")
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignore)
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "manage.py", "makemessages", "-l", "de", "--no-obsolete", "-v0"]
    env = {"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "portal.settings", "SMG_ENV_FILE": "/dev/null",
           "SECRET_KEY": "x" * 60, "SMG_VAR_DIR": str(tmp_path / "var")}  # fmt: skip
    subprocess.run(command, cwd=copy, env=env, check=True, capture_output=True)
    missing = {
        entry.source
        for catalogue in CATALOGUES
        for entry in read((copy / catalogue).read_text(encoding="utf-8"))
        if entry.is_fuzzy or not all(entry.translations)
    }
    assert missing == set()


@pytest.mark.parametrize("name", PAGES)
def test_the_manual_is_in_both_languages(name: str, root_dir: Path) -> None:
    english, german = (
        (root_dir / "docs" / "manual" / language / f"{name}.md").read_text() for language in ("en", "de")
    )
    assert english.startswith("# ")
    assert german.startswith("# ")
    assert english.count("\n## ") == german.count("\n## ")
    assert re.findall(r"/help/img/\S+png", english) == re.findall(r"/help/img/\S+png", german)
