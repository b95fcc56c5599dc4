"""Command lines and reply lines as they stand on the wire. Pure."""

from __future__ import annotations

import re

from gateway.rules.types import Reply

MAX_COMMAND_BYTES = 2048  # 512 of RFC 5321 and what SIZE, SMTPUTF8, DSN and AUTH= add, generously
MAX_AUTH_BYTES = 12_290  # RFC 4954, 4
MAX_REPLY_TEXT = 480  # RFC 5321, 4.5.3.1.5: 512 octets a line

_UNSAFE = re.compile(rb"[\x00-\x1f\x7f]")


def parse_command(line: bytes) -> tuple[str, str, Reply | None]:
    """(VERB, argument, None) of one line, or ('', '', why not)."""
    if not line.endswith(b"\r\n"):
        return "", "", Reply(500, "5.5.2", "Line must end with CRLF")
    text = line[:-2]
    if _UNSAFE.search(text):
        return "", "", Reply(500, "5.5.2", "Control characters are not allowed in commands")
    try:
        verb, _space, argument = text.decode().partition(" ")
    except UnicodeDecodeError:
        return "", "", Reply(500, "5.5.2", "Command is not UTF-8")
    verb = verb.upper()
    if len(line) > MAX_COMMAND_BYTES and verb != "AUTH":
        return "", "", Reply(500, "5.5.2", "Command line too long")
    return verb, argument.strip(" "), None


def reply_line(reply: Reply, *, more: bool = False) -> bytes:
    """A reply as it goes over the wire; `more`: another line of it follows. Nothing in the text, which may come from a
    scanner or a next hop, can end the line."""
    text = reply.text[:MAX_REPLY_TEXT]
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    start = f"{reply.code}{'-' if more else ' '}"
    return (f"{start}{reply.enhanced} {text}\r\n" if reply.enhanced else f"{start}{text}\r\n").encode("ascii")
