"""What the supervisor decides and says: when to start a part again, how its lines look, what the start prints.

Pure text and numbers; `gateway/supervisor.py` does the work with processes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
HEALTHY_AFTER_S = 60.0
LONGEST_LINE_BYTES = 16 * 1024  # a part that never ends its line must not fill our memory
COLOURS = {"web": 36, "relay": 32, "scheduler": 35, "sink": 33}
NO_COLOUR = 37


# ------------------------------------------------------------------------------------------------- starting again


def failures_in_a_row(before: int, ran_s: float) -> int:
    """How many short lives in a row, this one included; a part that ran for a minute starts from one."""
    return 1 if ran_s >= HEALTHY_AFTER_S else before + 1


def restart_delay_s(failures: int) -> float:
    """Seconds to wait before start number `failures` + 1: 0.5, 1, 2, 4 ... 30."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(max(failures - 1, 0), 16))


def ending(code: int) -> str:
    """Exit status in words: 'ended with code 3', 'was killed by signal 9'."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


# ------------------------------------------------------------------------------------------------- prefixed lines


@dataclass
class LinePrefixer:
    """Cuts a part's output into lines with its name in front. Feed it whatever was read, in any pieces."""

    name: str
    width: int
    colour: bool
    _rest: bytes = field(default=b"", repr=False)

    def feed(self, chunk: bytes) -> bytes:
        """The finished lines in `chunk`, prefixed; an unfinished one is kept, unless it is too long already."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return b"".join(self._prefix() + line + b"\n" for line in lines)

    def finish(self) -> bytes:
        """The last line when it had no end."""
        return self.feed(b"\n") if self._rest else b""

    def _prefix(self) -> bytes:
        text = f"{self.name:<{self.width}} | "
        if self.colour:
            text = f"\x1b[{COLOURS.get(self.name, NO_COLOUR)}m{text}\x1b[0m"
        return text.encode()


# ------------------------------------------------------------------------------------------------- the banner


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody needs for a first mail: the demo's log-in and SMTP credentials (`var/demo.json`)
    and where the relay listens."""

    email: str
    password: str
    smtp_host: str
    smtp_port: int
    username: str
    secret: str
    sender: str
    recipient: str
    support_email: str = ""
    support_password: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Access:
        """From the file's content; raises KeyError or ValueError when something is missing or no port."""
        wanted = {name: str(values[name]) for name in cls.__slots__ if not name.startswith("support_")}
        support = {name: str(values.get(name, "")) for name in ("support_email", "support_password")}
        return cls(**{**wanted, **support, "smtp_port": int(wanted["smtp_port"])})  # type: ignore[arg-type]


def send_line(access: Access, *, swaks: bool) -> str:
    """One shell line that sends a first mail with STARTTLS and AUTH."""
    return _swaks_line(access) if swaks else _python_line(access)


def _swaks_line(access: Access) -> str:
    words = [
        "swaks", "--server", access.smtp_host, "--port", str(access.smtp_port), "--tls",
        "--auth", "PLAIN", "--auth-user", access.username, "--auth-password", access.secret,
        "--from", access.sender, "--to", access.recipient, "--header", "Subject: A first mail",
    ]  # fmt: skip
    return shlex.join(words)


def _python_line(access: Access) -> str:
    mail = f"From: {access.sender}\r\nTo: {access.recipient}\r\nSubject: A first mail\r\n\r\nIt works.\r\n"
    code = (
        f"import smtplib; s = smtplib.SMTP({access.smtp_host!r}, {access.smtp_port}); s.starttls(); "
        f"s.login({access.username!r}, {access.secret!r}); "
        f"print(s.sendmail({access.sender!r}, [{access.recipient!r}], {mail!r}) or 'accepted')"
    )
    return f"python3 -c {shlex.quote(code)}"


@dataclass(frozen=True, slots=True)
class Part:
    """One outside part of the gateway: what the operator set (empty = nothing) and whether it answers."""

    setting: str
    value: str
    answers: bool


MISSING = {
    "SMG_CLAMD": "no virus scanner: set SMG_CLAMD (for example unix:/run/clamav/clamd.ctl) to have mail scanned",
    "SMG_RSPAMD": "no Rspamd: spam is judged by the built-in scorer (SMG_RSPAMD adds Rspamd)",
    "SMG_SPAMD": "no SpamAssassin: spam is judged by the built-in scorer (SMG_SPAMD adds spamd)",
}

SILENT = {
    "SMG_CLAMD": "mail is put off with 451 until it does",
    "SMG_RSPAMD": "spam is judged without it",
    "SMG_SPAMD": "spam is judged without it",
}


def degraded_lines(parts: list[Part]) -> list[str]:
    """One line for each part that is missing or silent, none for those that work."""
    return [_degraded(part) for part in parts if not (part.value and part.answers)]


def _degraded(part: Part) -> str:
    if not part.value:
        return MISSING.get(part.setting, f"{part.setting} is not set")
    return f"{part.setting}={part.value} does not answer: {SILENT.get(part.setting, 'its work is left out')}"


def banner(url: str, smtp: str, access: Access | None, line: str, degraded: list[str]) -> str:
    """What the start prints once everything answers."""
    rows = [("Portal", url)]
    if access:
        rows.append(("Log in", f"{access.email}  {access.password}"))
    if access and access.support_email:
        rows.append(("Support", f"{access.support_email}  {access.support_password}"))
    rows.append(("SMTP", smtp))
    if access:
        rows.append(("SMTP log-in", f"{access.username}  {access.secret}"))
    text = ["", "Secure Mail Gateway is running. Ctrl-C stops it.", ""]
    text += [f"  {name:<12} {value}" for name, value in rows]
    if line:
        text += ["", "Send a first mail:", "", f"  {line}"]
        text += [
            "",
            "Its way is under Messages in the portal; what arrived is under Caught mail, for Support.",
        ]
    if degraded:
        text += ["", *(f"Degraded: {reason}" for reason in degraded)]
    return "\n".join([*text, ""])
