"""Delivery status notifications, the part for machines: RFC 3464 fields, with RFC 3461 and RFC 6533 behind them.

Values come from strangers (addresses, ENVID, ORCPT, replies): whatever becomes a field passes `_field`, which lets no
control character through and folds. Who gets a report at all is `rules/notify.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from gateway.rules.types import Category, Pool, Reply, Stage

ACTIONS = ("failed", "delayed", "delivered", "relayed")
STATUS_OF_ACTION = {"failed": "5.0.0", "delayed": "4.0.0", "delivered": "2.0.0", "relayed": "2.0.0"}
CLASSES_OF_ACTION = {"failed": "54", "delayed": "4", "delivered": "2", "relayed": "2"}
MAX_VALUE_OCTETS = 900  # RFC 5322 2.1.1 allows 998 octets a line, and one word may fill it
LINE_CHARS = 76

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ADDRESS_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,30}")
_OUR_WORDS = re.compile(
    r"(Timed out|Connection lost) while |No SMTP from the server|Message (could not be delivered within|expired before)"
    r"|The certificate of |TLS (handshake )?with |Internal error while "
    r"|\S+ (does not offer|offers no|sent data in clear)"
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient."""

    address: str
    action: str  # one of ACTIONS
    reply: Reply  # the last one: the next hop's, or ours
    orcpt: str = ""  # 'rfc822;address', xtext already decoded
    remote_mta: str = ""  # host that gave the reply, or that it is about; '' = none was reached
    is_own: bool = (
        False  # the reply is in our words, see in_our_words; texts known to be ours need not be marked
    )
    last_attempt: datetime | None = None
    will_retry_until: datetime | None = None  # for 'delayed'
    gateway: str = ""  # name of the way out
    gateway_pool: Pool | None = None
    reason: str = ""  # Outcome.reason

    @property
    def speaker(self) -> str:
        """The host whose words the reply is; '' = ours."""
        return "" if self.is_own or _OUR_WORDS.match(self.reply.text) else self.remote_mta


def in_our_words(reply: Reply, stage: Stage) -> bool:
    """Whether the reply of an outcome was made up by us: before and below the dialogue nobody else says anything."""
    own = stage in (Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.POLICY)
    return own or _OUR_WORDS.match(reply.text) is not None


@dataclass(frozen=True, slots=True)
class ReportInput:
    """One report about one message to its envelope sender. The same input gives the same octets."""

    now: datetime
    seed: str  # unique for each report: Message-ID and boundary come from it
    reporting_mta: str  # our host name
    sender: str  # whom the report goes to
    arrival: datetime
    queue_id: str
    recipients: tuple[RecipientReport, ...]
    original: bytes  # the message as it came, or only its head
    envid: str = ""  # xtext already decoded
    ret: str = ""  # FULL | HDRS | ''
    language: str = "en"
    smtputf8: bool = False  # the message came with SMTPUTF8, so its sender can read such reports (RFC 6533 4)
    category: Category = Category.CLEAN
    score: float | None = None
    symbols: tuple[str, ...] = ()  # names, the weightiest first
    quote_body: bool = True  # False: never return the body, whatever RET says (malware)
    message_url: str = ""  # the message's page in the portal
    support_email: str = ""

    @property
    def is_international(self) -> bool:
        """Whether the UTF-8 forms of RFC 6533 are used; the report then needs SMTPUTF8 on its way."""
        addresses = (self.sender, *(recipient.address for recipient in self.recipients))
        return self.smtputf8 and not all(address.isascii() for address in addresses)


def delivery_status(report: ReportInput) -> str:
    """The body of the message/delivery-status part (RFC 3464 2.1), or of the global one; CRLF line ends. ASCII unless
    the report is international."""
    groups = [_message_fields(report), *(_recipient_fields(item, report) for item in report.recipients)]
    return "\r\n".join("".join(group) for group in groups)


def _message_fields(report: ReportInput) -> list[str]:
    """RFC 3464 2.2. Received-From-MTA is left out: the origin stays hidden, wherever the report may travel."""
    wide = report.is_international
    fields = [_field("Original-Envelope-Id", report.envid, wide=wide)] if report.envid else []
    fields += [
        _field("Reporting-MTA", f"dns; {report.reporting_mta}", wide=wide),
        _field("Arrival-Date", format_datetime(report.arrival), wide=wide),
        _field("X-SMG-Queue-ID", report.queue_id, wide=wide),
    ]
    return fields


def _recipient_fields(item: RecipientReport, report: ReportInput) -> list[str]:
    """RFC 3464 2.3, in its order."""
    wide = report.is_international
    pairs = [
        ("Original-Recipient", _original_recipient(item.orcpt, wide=wide)),
        ("Final-Recipient", typed_address(item.address, wide=wide)),
        ("Action", item.action),
        ("Status", status_of(item.action, item.reply)),
        ("Remote-MTA", f"dns; {item.remote_mta}" if item.remote_mta else ""),
        ("Diagnostic-Code", _diagnostic(item)),
        ("Last-Attempt-Date", format_datetime(item.last_attempt) if item.last_attempt else ""),
        ("Final-Log-ID", report.queue_id),
        ("Will-Retry-Until", _retry_until(item)),
        ("X-SMG-Gateway", _gateway_name(item)),
    ]
    return [_field(name, value, wide=wide) for name, value in pairs if value]


def status_of(action: str, reply: Reply) -> str:
    """The Status field: the reply's enhanced code when it fits the action, else the general one of its class."""
    fits = _STATUS.fullmatch(reply.enhanced) and reply.enhanced[0] in CLASSES_OF_ACTION[action]
    if not fits:
        return STATUS_OF_ACTION[action]
    if action == "failed" and reply.is_permanent:  # '550 4.2.1': the reply code decides (RFC 5321 4.2)
        return "5" + reply.enhanced[1:]
    return reply.enhanced


def typed_address(address: str, *, wide: bool) -> str:
    """'rfc822; address', or 'utf-8; address' with the address as it is or, in an ASCII report, in the form of
    RFC 6533 3 (utf-8-addr-xtext)."""
    if address.isascii():
        return f"rfc822; {address}"
    return f"utf-8; {address if wide else utf8_xtext(address)}"


def utf8_xtext(address: str) -> str:
    r"""RFC 6533 3: characters beyond ASCII, and those that xtext reserves, as \x{HEX}."""
    return "".join(
        char if "!" <= char <= "~" and char not in "+=\\" else f"\\x{{{ord(char):X}}}" for char in address
    )


def _original_recipient(orcpt: str, *, wide: bool) -> str:
    """RFC 3464 2.3.1: as the sender gave it; '' when it is not 'type;address'."""
    kind, found, address = orcpt.partition(";")
    if not found or not _ADDRESS_TYPE.fullmatch(kind):
        return ""
    if address.isascii() or wide:
        return f"{kind};{address}"
    return f"utf-8;{utf8_xtext(address)}"


def _diagnostic(item: RecipientReport) -> str:
    """RFC 3464 2.3.6: 'smtp' for what a next hop said, our own type for what we decided."""
    if item.action in ("delivered", "relayed") and not item.speaker:
        return ""
    return f"{'smtp' if item.speaker else 'x-smg'}; {item.reply}"


def _retry_until(item: RecipientReport) -> str:
    if item.action != "delayed" or item.will_retry_until is None:
        return ""
    return format_datetime(item.will_retry_until)


def _gateway_name(item: RecipientReport) -> str:
    return f"{item.gateway} ({item.gateway_pool})" if item.gateway and item.gateway_pool else item.gateway


def _field(name: str, value: str, *, wide: bool) -> str:
    """One field on folded lines, with its CRLF."""
    octets = clean(value, wide=wide).encode()[:MAX_VALUE_OCTETS]
    return "\r\n\t".join(_lines(f"{name}:", octets.decode("utf-8", "ignore").split())) + "\r\n"


def _lines(name: str, words: list[str]) -> list[str]:
    lines = [name]
    for word in words:
        if lines[-1] == name or len(lines[-1]) + len(word) < LINE_CHARS:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def clean(value: str, *, wide: bool) -> str:
    """The value without controls, surrogates and line ends; '?' for what is beyond ASCII in an ASCII report."""
    value = _CONTROLS.sub(" ", value)
    return value if wide else value.encode("ascii", "replace").decode("ascii")
