"""Reading mbox files as test and training mail: streams, xz or plain, single messages, standard input.

An mbox here is what `mboxrd` writers make: `From SOURCE date` lines between messages, body lines that begin with
`From ` quoted by `>`. The word after `From ` names the source of the message.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

_SEPARATOR = re.compile(rb"From (\S{1,200}) .*\d\d:\d\d.*\d{4}\s*")
_QUOTED = re.compile(rb">+From ")


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of a corpus: `source` as its separator names it, `is_spam` as its file name says."""

    source: str
    is_spam: bool
    raw: bytes


class CorpusError(ValueError):
    """A corpus file whose name does not tell ham from spam, or that holds no message."""


def open_mail(path: Path) -> IO[bytes]:
    """Open a file of mail for reading, unpacking `.xz`."""
    return cast("IO[bytes]", lzma.open(path, "rb")) if path.suffix == ".xz" else path.open("rb")


def messages(stream: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """(source, message) of an mbox, or ("", everything) when the stream does not begin as one."""
    first = stream.readline()
    found = _SEPARATOR.fullmatch(first)
    if found is None:
        yield "", first + stream.read()
        return
    source = found.group(1).decode("utf-8", "replace")
    lines: list[bytes] = []
    for line in stream:
        found = _SEPARATOR.fullmatch(line) if line.startswith(b"From ") else None
        if found is None:
            lines.append(line[1:] if _QUOTED.match(line) else line)
            continue
        yield source, _joined(lines)
        source, lines = found.group(1).decode("utf-8", "replace"), []
    yield source, _joined(lines)


def _joined(lines: list[bytes]) -> bytes:
    """The message without the empty line that an mbox puts after it."""
    if lines and lines[-1] in (b"\n", b"\r\n"):
        lines = lines[:-1]
    return b"".join(lines)


def samples(paths: list[Path]) -> Iterator[Sample]:
    """Messages of labelled files (`ham*`, `spam*`), in the order of the files."""
    for path in paths:
        is_spam = label_of(path)
        with open_mail(path) as stream:
            for source, raw in messages(stream):
                if raw:
                    yield Sample(source or path.name, is_spam, raw)


def label_of(path: Path) -> bool:
    """True for `spam*`, False for `ham*`; CorpusError for other names."""
    name = path.name.lower()
    if name.startswith(("spam", "ham")):
        return name.startswith("spam")
    raise CorpusError(f"{path.name}: the name must begin with ham or spam")
