"""What links say about a mail: where they go, how they are written, whether the text shows another target.

Hosting platforms, shorteners and brands are facts of common knowledge kept as small tables; how much each counts is
learned in training or, where training mail had too few of them, stated there (`train.BELIEF`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_URLS = 120

# Begins with a set of letters: only so is the place to try found by a quick scan.
_URL = re.compile(r"[hHwW](?:(?<!\w[hHwW])(?i:ttps?://|ww\.))[^\s<>\"'\]){}|\\^`]{3,1500}+")
_SPLIT = re.compile(
    r"(?:([a-zA-Z][a-zA-Z0-9+.-]{0,20}):)?(?://)?([^/?#]{0,300})([^?#]{0,1500})(\?[^#]{0,1500})?"
)
_IP = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|0x[0-9a-f]{8}|\d{8,10}|\[[0-9a-f:.]+\]")
_HOST_LIKE = re.compile(
    r"(?:https?://|www\.)?((?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,12})(?:[/:?#].*)?", re.IGNORECASE | re.DOTALL
)
_RANDOM = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}|\d[a-z]+\d[a-z]+\d|[0-9a-f]{12}")

SECOND_LEVEL = frozenset("co com org net gov edu ac gv ne or go".split())
PLATFORMS = frozenset(
    "web.app firebaseapp.com pages.dev workers.dev r2.dev vercel.app netlify.app herokuapp.com github.io glitch.me "
    "blob.core.windows.net web.core.windows.net azurewebsites.net azureedge.net cloudfront.net weebly.com wixsite.com "
    "wixstudio.com webflow.io square.site webnode.com webnode.page blogspot.com wordpress.com 000webhostapp.com "
    "godaddysites.com myshopify.com jotform.com typeform.com formstack.com surveymonkey.com cognitoforms.com "
    "sharepoint.com translate.goog googleusercontent.com appspot.com storage.googleapis.com run.app onrender.com "
    "surge.sh repl.co replit.app ngrok.io ngrok-free.app ngrok.app duckdns.org ddns.net hopto.org no-ip.org "
    "fleek.co ipfs.io dweb.link cf-ipfs.com backblazeb2.com digitaloceanspaces.com linodeobjects.com wasabisys.com "
    "strikingly.com mystrikingly.com yolasite.com ucraft.net site123.me carrd.co notion.site framer.app "
    "tripod.com geocities.com angelfire.com altervista.org".split()
)
FORM_HOSTS = frozenset(
    "docs.google.com forms.gle forms.office.com drive.google.com sites.google.com storage.googleapis.com "
    "script.google.com dropbox.com s3.amazonaws.com 1drv.ms wetransfer.com".split()
)
SHORTENERS = frozenset(
    "bit.ly tinyurl.com t.co goo.gl ow.ly is.gd buff.ly cutt.ly rebrand.ly rb.gy t.ly shorturl.at tiny.cc v.gd s.id "
    "lnkd.in bl.ink short.gy qrco.de linktr.ee u.to clck.ru urlz.fr adf.ly snip.ly l.ead.me tinyurl.co x.co".split()
)
CHEAP_TLDS = frozenset(
    "xyz top club online site icu buzz shop store click link live fun space website work world rest cam cfd sbs bond "
    "monster quest cyou vip win bid loan trade date review stream download racing party science men ga cf gq ml tk pw "
    "ws su biz info".split()
)
COMMON_TLDS = frozenset("com net org edu gov mil int de at ch uk us fr nl it es eu io".split())


@dataclass(frozen=True, slots=True)
class Url:
    """One link: scheme and host in lower case; `user` is what stands before an @; `shown` the text a reader sees."""

    scheme: str
    host: str
    port: str
    user: str
    path: str
    query: str
    tag: str
    shown: str


def parse_url(target: str, tag: str = "text", shown: str = "") -> Url | None:
    """Split a target, None when it names no host (anchors, mailto:, tel:, cid:, data:)."""
    match = _SPLIT.match(target.strip())
    if match is None:
        return None
    scheme, authority, path, query = match.groups()
    scheme = (scheme or "").lower()
    if scheme not in ("", "http", "https", "ftp") or "." not in authority:
        return None
    user, at, host = authority.rpartition("@")
    host, colon, port = host.partition(":")
    return Url(
        scheme,
        host.lower().strip("."),
        port if colon else "",
        user if at else "",
        path,
        query or "",
        tag,
        shown,
    )


def urls_in_text(text: str) -> Iterator[Url]:
    """Links written out in plain text, at most MAX_URLS."""
    if (
        "://" not in text and "ww." not in text.lower()
    ):  # a tenth of what the expression takes to find nothing
        return
    for count, match in enumerate(_URL.finditer(text)):
        if count >= MAX_URLS:
            return
        url = parse_url(match.group().rstrip(".,;:!?*-_~>"), "text")
        if url is not None:
            yield url


def organisation(host: str) -> str:
    """The registrable part, good enough to compare two hosts: `mail.shop.co.uk` -> `shop.co.uk`."""
    labels = host.split(".")
    if len(labels) > 2 and labels[-2] in SECOND_LEVEL and len(labels[-1]) == 2:
        return ".".join(labels[-3:])
    return ".".join(labels[-2:])


def is_address(host: str) -> bool:
    """True when the host is an IP address in any spelling."""
    return _IP.fullmatch(host) is not None


def on_platform(host: str, table: frozenset[str]) -> bool:
    """True when the host or a parent of it (up to four labels) is in `table`."""
    labels = host.split(".")
    return any(".".join(labels[-size:]) in table for size in range(2, min(len(labels), 4) + 1))


def shown_host(url: Url) -> str:
    """Host that the visible text of a link claims, "" when the text is no address."""
    match = _HOST_LIKE.fullmatch(url.shown.strip()) if url.shown and len(url.shown) < 200 else None
    return match.group(1).lower() if match else ""


def looks_random(host: str) -> bool:
    """True for host labels that nobody would choose: long consonant runs, digits and letters mixed."""
    return _RANDOM.search(host.rpartition(".")[0].replace(".", " ")) is not None
