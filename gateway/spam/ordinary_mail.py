"""The ordinary texts as whole mail for training: letters, notices of a shop or a service, newsletters.

In the public corpora HTML with pictures, buttons and tables is almost always spam, and a mail to one recipient without
Cc is rarely ham (lists answer to all). Business mail looks like that all day; these layouts say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from gateway.spam.ordinary import ordinary_texts

DOMAINS = ("example.com", "mail.example.org", "example.net", "shop.example.com", "news.example.org")
SENDERS = (
    "Customer Service <service@{domain}>",
    "The Example Team <no-reply@{domain}>",
    "Maria Lindner <maria.lindner@{domain}>",
    "Example News <newsletter@{domain}>",
    '"Lindner, Paul" <p.lindner@{domain}>',
)
PROGRAMS = ("", "X-Mailer: Microsoft Outlook 16.0\r\n", "User-Agent: Mozilla Thunderbird\r\n", "")
OFFICE = ' class="MsoNormal"'
FOOTER = "You receive this email as a customer or subscriber of Example Ltd, 1 High Street. Privacy policy, imprint."


def ordinary_mails() -> Iterator[bytes]:
    """Every text in one layout and from one sender, always the same in the same order."""
    for number, (subject, text) in enumerate(ordinary_texts()):
        domain = DOMAINS[number % len(DOMAINS)]
        sender = SENDERS[number * 3 % len(SENDERS)].format(domain=domain)
        layout = LAYOUTS[number % len(LAYOUTS)]
        yield _headers(number, subject, sender, domain) + layout(subject, text, domain).encode("ascii")


def _headers(number: int, subject: str, sender: str, domain: str) -> bytes:
    recipient = ("customer@kunde.example", "Anna Berger <anna.berger@kunde.example>")[number % 2]
    return (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\nDate: Mon, 02 Jun 2025 10:00:00 +0000\r\n"
        f"Message-ID: <{number}.4711@{domain}>\r\nMIME-Version: 1.0\r\n{PROGRAMS[number % len(PROGRAMS)]}"
    ).encode("ascii")


def letter(subject: str, text: str, domain: str) -> str:
    """Plain text with a signature."""
    body = (
        f"Hello,\r\n\r\n{_lines(text)}\r\n\r\nKind regards\r\n-- \r\nExample Ltd\r\nhttps://www.{domain}/\r\n"
    )
    return f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{body}"


def notice(subject: str, text: str, domain: str) -> str:
    """What a shop or a service sends: plain text and HTML with one button."""
    link = f"https://www.{domain}/account"
    html = (
        f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{escape(subject)}</title>'
        '<style>a{color:#06c}</style></head><body style="font-family:Arial,sans-serif">'
        '<table role="presentation" width="100%"><tr><td>'
        f'<img src="https://www.{domain}/logo.png" alt="Example" width="120"><h1>{escape(subject)}</h1><p>Hello,</p>'
        f'{_paragraphs(text)}<p><a href="{link}" style="background-color:#06c;color:#fff">View details</a></p>'
        f'<p style="font-size:12px">{FOOTER}</p></td></tr></table></body></html>'
    )
    return _alternative(f"Hello,\r\n\r\n{_lines(text)}\r\n\r\n{link}\r\n\r\n{_lines(FOOTER)}\r\n", html)


def newsletter(subject: str, text: str, domain: str) -> str:
    """HTML alone, in the tables, fonts and colours that mailing programs have written for decades."""
    rows = "".join(
        '<tr><td bgcolor="#ffffff" align="left"><font face="Verdana" size="2" color="#333333">'
        f'<b>{escape(part)}.</b><br><a href="http://www.{domain}/story/{number}">Read more</a></font></td>'
        f'<td><img src="http://www.{domain}/images/{number}.jpg" border="0" width="90" height="60"></td></tr>'
        for number, part in enumerate(text.rstrip(".").split(". "))
    )
    html = (
        f"<html><head><title>{escape(subject)}</title></head><body bgcolor=#ffffff><center>"
        '<table width="600" border="0" cellpadding="4" cellspacing="0">'
        f'<tr><td colspan="2"><img src="http://www.{domain}/images/head.gif" alt="Example"></td></tr>{rows}'
        f'<tr><td colspan="2"><font size="1">{FOOTER} <a href="http://www.{domain}/unsubscribe?id=8842">Unsubscribe</a>'
        "</font></td></tr></table></center></body></html>"
    )
    return f"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{html}\r\n"


def office(subject: str, text: str, domain: str) -> str:
    """What people write in an office program: both renderings, fonts by style sheet, a signature."""
    html = (
        '<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><meta http-equiv="Content-Type" '
        'content="text/html; charset=utf-8"><style>p.MsoNormal{font-family:"Calibri",sans-serif}</style></head>'
        f'<body lang="EN-GB"><div><p class="MsoNormal">Hello,<o:p></o:p></p>{_paragraphs(text, OFFICE)}'
        f'<p class="MsoNormal">Kind regards<br>Example Ltd<br><a href="https://www.{domain}/">www.{domain}</a></p></div>'
        "</body></html>"
    )
    return _alternative(f"Hello,\r\n\r\n{_lines(text)}\r\n\r\nKind regards\r\nExample Ltd\r\n", html)


LAYOUTS: tuple[Callable[[str, str, str], str], ...] = (
    letter,
    notice,
    newsletter,
    office,
    notice,
    newsletter,
    letter,
)


def _lines(text: str) -> str:
    return text.replace(". ", ".\r\n")


def _paragraphs(text: str, attributes: str = "") -> str:
    return "".join(f"<p{attributes}>{escape(part)}.</p>" for part in text.rstrip(".").split(". "))


def _alternative(plain: str, html: str) -> str:
    edge = "----=_Part_100_4711.2025"
    return (
        f'Content-Type: multipart/alternative; boundary="{edge}"\r\n\r\n'
        f"--{edge}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{plain}\r\n"
        f"--{edge}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        f"{html.replace('=', '=3D')}\r\n--{edge}--\r\n"
    )
