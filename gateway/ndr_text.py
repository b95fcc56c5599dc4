"""The part of a report that people read, in the customer's language: what happened, who must act, what to do, then
what the server said."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.rules.codes import CodeDictionary, CodeEntry, Who, explain
from gateway.rules.dsn import RecipientReport, ReportInput
from gateway.rules.headers import showable
from gateway.rules.types import Category, Pool
from gateway.spam.symbols import describe

WIDTH = 76
MAX_LISTED = 50  # addresses with the same cause; the machine part holds all of them
MAX_SYMBOLS = 8
LAST_ANSWER = re.compile(r"Last answer: (\d{3})(?: (\d\.\d{1,3}\.\d{1,3}))? ?(.*)", re.DOTALL)


class Words(NamedTuple):
    """Everything a report says that is not about one cause, in one language."""

    code: str  # RFC 5646
    subject: dict[str, str]  # by action
    opening: dict[str, str]
    explained: dict[str, str]  # by action, where no cause needs to be looked up
    about: str
    what: str
    who: str
    todo: str
    whom: dict[Who, str]
    given_up: str
    wait: str
    answer: str
    own_answer: str
    last_answer: str
    gateway: str
    more: str
    spam: str
    score: str
    spam_symbols: str
    spam_todo: str
    page: str
    closing: str
    support: str
    date: str


ENGLISH = Words(
    code="en",
    subject={
        "failed": "Undelivered",
        "delayed": "Delayed",
        "delivered": "Delivered",
        "relayed": "Handed on",
    },
    opening={
        "failed": "Your message of {date} could not be delivered to the recipients below. We have given up on them.",
        "delayed": "Your message of {date} has not been delivered to the recipients below yet. We go on trying; this "
        "is a warning only. Please do not send it again.",
        "delivered": "Your message of {date} has been delivered to the recipients below, as you asked to be told.",
        "relayed": "Your message of {date} has been handed on for the recipients below, as you asked to be told.",
    },
    explained={
        "delivered": "The recipient's server took responsibility for the message.",
        "relayed": "The next server took responsibility for the message, but sends no confirmations of its own. You "
        "will hear from us no more about it.",
    },
    about="Subject: ",
    what="What happened: ",
    who="Who must act: ",
    todo="What to do:",
    whom={
        Who.SENDER: "You, the sender.",
        Who.RECIPIENT: "The recipient, or the administrator of the recipient's mail server.",
        Who.GATEWAY: "We, who run this gateway.",
        Who.NOBODY: "Nobody.",
    },
    given_up="We try this message no more. Send it again later, when the cause may have gone.",
    wait="We go on trying until {date}. Then you get a final report.",
    answer="{host} said: ",
    own_answer="Our gateway decided: ",
    last_answer="Its last answer meant: ",
    gateway="Left by gateway: ",
    more="... and {count} more, listed in the technical part of this report",
    spam="This message was classified as {category}{score}, so it took the way for suspected spam{by}. "
    "Receivers refuse such mail more often.",
    score=" (score {score} of 100)",
    spam_symbols="What spoke for it:",
    spam_todo='If that is wrong, open the message in the portal and choose "not spam".',
    page="The message in the portal: ",
    closing="This report was made by the mail gateway {host}. It cannot be answered.",
    support="Questions? Write to {address} and give the message's number {number}.",
    date="%Y-%m-%d, %H:%M UTC",
)

GERMAN = Words(
    code="de",
    subject={
        "failed": "Unzustellbar",
        "delayed": "Verzögert",
        "delivered": "Zugestellt",
        "relayed": "Weitergegeben",
    },
    opening={
        "failed": "Ihre Nachricht vom {date} konnte den unten genannten Empfängern nicht zugestellt werden. Wir haben "
        "es für sie aufgegeben.",
        "delayed": "Ihre Nachricht vom {date} ist den unten genannten Empfängern noch nicht zugestellt. Wir versuchen "
        "es weiter; dies ist nur eine Warnung. Bitte senden Sie sie nicht noch einmal.",
        "delivered": "Ihre Nachricht vom {date} ist den unten genannten Empfängern zugestellt; Sie hatten um diese "
        "Bestätigung gebeten.",
        "relayed": "Ihre Nachricht vom {date} ist für die unten genannten Empfänger weitergegeben; Sie hatten um "
        "diese Bestätigung gebeten.",
    },
    explained={
        "delivered": "Der Server des Empfängers hat die Verantwortung für die Nachricht übernommen.",
        "relayed": "Der nächste Server hat die Verantwortung für die Nachricht übernommen, schickt selbst aber keine "
        "Bestätigungen. Sie hören dazu nichts mehr von uns.",
    },
    about="Betreff: ",
    what="Was geschehen ist: ",
    who="Wer handeln muss: ",
    todo="Was zu tun ist:",
    whom={
        Who.SENDER: "Sie, der Absender.",
        Who.RECIPIENT: "Der Empfänger oder der Administrator seines Mailservers.",
        Who.GATEWAY: "Wir, die Betreiber dieses Gateways.",
        Who.NOBODY: "Niemand.",
    },
    given_up="Wir versuchen es mit dieser Nachricht nicht mehr. Senden Sie sie später erneut, wenn die Ursache behoben "
    "sein kann.",
    wait="Wir versuchen es weiter bis {date}. Danach bekommen Sie einen abschließenden Bericht.",
    answer="{host} antwortete: ",
    own_answer="Unser Gateway entschied: ",
    last_answer="Die letzte Antwort bedeutete: ",
    gateway="Gesendet über Gateway: ",
    more="... und {count} weitere; sie stehen im technischen Teil dieses Berichts",
    spam="Diese Nachricht wurde als {category} eingestuft{score} und nahm darum den Weg für "
    "vermuteten Spam{by}. Empfänger lehnen solche E-Mails öfter ab.",
    score=" ({score} von 100 Punkten)",
    spam_symbols="Was dafür sprach:",
    spam_todo='Ist das falsch, öffnen Sie die Nachricht im Portal und wählen Sie "kein Spam".',
    page="Die Nachricht im Portal: ",
    closing="Diesen Bericht hat das Mail-Gateway {host} erstellt. Man kann nicht auf ihn antworten.",
    support="Fragen? Schreiben Sie an {address} und nennen Sie die Nummer {number} der Nachricht.",
    date="%d.%m.%Y, %H:%M UTC",
)
CATEGORIES = {
    "en": {Category.CLEAN: "clean", Category.SUSPECT: "suspected spam", Category.SPAM: "spam"},
    "de": {Category.CLEAN: "unverdächtig", Category.SUSPECT: "Spam-Verdacht", Category.SPAM: "Spam"},
}


def words(language: str) -> Words:
    """The words of a language ('de', 'de-at'); English for one that we do not have."""
    return GERMAN if language[:2].lower() == "de" else ENGLISH


def human_part(kind: str, report: ReportInput, subject: str, dictionary: CodeDictionary) -> str:
    """The text for people, wrapped, with LF line ends. `subject` is the original's, made safe."""
    said = words(report.language)
    opening = said.opening[kind].format(date=_date(report.arrival, said))
    blocks = [_wrap(opening)]
    if subject:
        blocks.append(_wrap(said.about + subject, "  "))
    blocks += [_cause_block(group, report, dictionary) for group in _by_cause(report, dictionary).values()]
    blocks += [_spam_block(report, said), _closing_block(report, said)]
    return "\n\n".join(block for block in blocks if block) + "\n"


# ---------------------------------------------------------------- one cause


class Group(NamedTuple):
    """Recipients to whom the same happened in the same words."""

    entry: CodeEntry
    items: list[RecipientReport]


def entry_of(item: RecipientReport, dictionary: CodeDictionary) -> CodeEntry:
    """The dictionary's entry for what became of a recipient; its key is the cause that statistics count."""
    return explain(item.reply.code, item.reply.enhanced, item.reply.text, dictionary, reason=item.reason)


def _by_cause(report: ReportInput, dictionary: CodeDictionary) -> dict[tuple[str, ...], Group]:
    groups: dict[tuple[str, ...], Group] = {}
    for item in report.recipients:
        entry = entry_of(item, dictionary)
        key = (item.action, entry.key, item.remote_mta, item.speaker, _without_address(item), item.gateway)
        groups.setdefault(key, Group(entry, [])).items.append(item)
    return groups


def _without_address(item: RecipientReport) -> str:
    """The reply as it is said of any recipient: most servers repeat the address."""
    return str(item.reply).lower().replace(item.address.lower(), "")


def _cause_block(group: Group, report: ReportInput, dictionary: CodeDictionary) -> str:
    said, first = words(report.language), group.items[0]
    lines = [showable(item.address) for item in group.items[:MAX_LISTED]]
    if len(group.items) > MAX_LISTED:
        lines.append(said.more.format(count=len(group.items) - MAX_LISTED))
    if first.action in said.explained:
        lines.append(_wrap(said.what + said.explained[first.action], "  "))
    else:
        lines += _cause_lines(group.entry, first, report.language, dictionary)
    lines += _answer_lines(first, said)
    return "\n".join(lines)


def _cause_lines(
    entry: CodeEntry, item: RecipientReport, language: str, dictionary: CodeDictionary
) -> Iterator[str]:
    said, text = words(language), entry.text(language)
    yield _wrap(f"{said.what}{text.title}. {text.meaning}", "  ")
    last = LAST_ANSWER.search(item.reply.text)
    if last:
        before = explain(int(last[1]), last[2] or "", last[3], dictionary)
        yield _wrap(f"{said.last_answer}{before.text(language).title}.", "  ")
    yield _wrap(said.who + said.whom[entry.who], "  ")
    steps = [said.given_up] if item.action == "failed" and entry.retry else list(text.steps)
    if item.action == "delayed" and item.will_retry_until:
        steps = [said.wait.format(date=_date(item.will_retry_until, said)), *([] if entry.retry else steps)]
    yield f"  {said.todo}"
    yield from (_wrap(f"{number}. {step}", "    ", "       ") for number, step in enumerate(steps, 1))


def _answer_lines(item: RecipientReport, said: Words) -> Iterator[str]:
    intro = said.answer.format(host=showable(item.speaker)) if item.speaker else said.own_answer
    yield _wrap(intro + showable(str(item.reply)), "  ")
    if item.gateway:
        pool = f" ({item.gateway_pool})" if item.gateway_pool else ""
        yield _wrap(f"{said.gateway}{showable(item.gateway)}{pool}", "  ")


# ---------------------------------------------------------------- the whole message


def _spam_block(report: ReportInput, said: Words) -> str:
    """Told for mail that took the Bad way, which is how a customer learns that it was taken for spam."""
    bad = [item.gateway for item in report.recipients if item.gateway_pool is Pool.BAD]
    if report.category is Category.CLEAN and not bad:
        return ""
    by = f" ({', '.join(dict.fromkeys(map(showable, bad)))})" if any(bad) else ""
    category = CATEGORIES[said.code][report.category]
    score = "" if report.score is None else said.score.format(score=round(report.score))
    lines = [_wrap(said.spam.format(category=category, score=score, by=by))]
    if report.symbols:
        lines.append(said.spam_symbols)
    lines += [_symbol_line(name, said.code) for name in report.symbols[:MAX_SYMBOLS]]
    return "\n".join([*lines, _wrap(said.spam_todo)])


def _symbol_line(name: str, language: str) -> str:
    return _wrap(f"- {showable(name)}: {describe(name, language)}", "  ", "    ")


def _closing_block(report: ReportInput, said: Words) -> str:
    lines = [said.page + report.message_url] if report.message_url else []
    lines.append(_wrap(said.closing.format(host=report.reporting_mta)))
    if report.support_email:
        lines.append(_wrap(said.support.format(address=report.support_email, number=report.queue_id)))
    return "\n".join(lines)


def _date(moment: datetime, said: Words) -> str:
    return moment.astimezone(UTC).strftime(said.date)


def _wrap(text: str, indent: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=rest or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
