"""Link tokens: where the links of a mail go, compared with its sender and with what the reader is shown."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.spam.html import Page
from gateway.spam.structure import Token, brand_misused, bucket
from gateway.spam.urls import (
    CHEAP_TLDS,
    FORM_HOSTS,
    MAX_URLS,
    PLATFORMS,
    SHORTENERS,
    Url,
    is_address,
    looks_random,
    on_platform,
    organisation,
    parse_url,
    shown_host,
    urls_in_text,
)

CLICKABLE = frozenset(("a", "text", "form", "area"))
MAX_HOSTS = 25


def collect_urls(text: str, pages: list[Page]) -> list[Url]:
    """All links of the HTML parts, then those written out in the text, at most MAX_URLS."""
    found = [
        url
        for page in pages
        for link in page.links[:MAX_URLS]
        if (url := parse_url(link.target, link.tag, link.text)) is not None
    ]
    if len(found) < MAX_URLS:
        found.extend(urls_in_text(text))
    return found[:MAX_URLS]


def link_tokens(urls: list[Url], sender_domain: str, to_local: str) -> Iterator[Token]:
    """Tokens of clickable links, of loaded pictures, and of how they relate to the sender."""
    clickable = [url for url in urls if url.tag in CLICKABLE]
    hosts = list(dict.fromkeys(url.host for url in clickable))[:MAX_HOSTS]
    yield "LINKS", "count:" + bucket(len(clickable))
    yield "LINKS", "hosts:" + bucket(len({organisation(host) for host in hosts}))
    own = organisation(sender_domain)
    for host in hosts:
        yield from _host_tokens(host)
    if own and hosts:
        strangers = sum(1 for host in hosts if organisation(host) != own)
        yield (
            "LINKS_VS_SENDER",
            "all-other" if strangers == len(hosts) else "some-own" if strangers else "all-own",
        )
    for url in clickable[:MAX_HOSTS]:
        yield from _url_tokens(url, to_local)
    yield from _picture_tokens(urls, own)


def _host_tokens(host: str) -> Iterator[Token]:
    if is_address(host):
        yield "LINK_TO_ADDRESS", "ip"
        return
    top = host.rpartition(".")[2]
    yield "LINK_TLD", "tld:" + top[:10]
    if top in CHEAP_TLDS:
        yield "LINK_TLD", "cheap"
    if on_platform(host, PLATFORMS):
        yield "LINK_HOSTING", "platform"
    if host in FORM_HOSTS:
        yield "LINK_HOSTING", "forms"
    if host in SHORTENERS:
        yield "LINK_SHORTENER", "short"
    for sign in _disguises(host):
        yield "LINK_DISGUISED", sign
    if brand_misused(host.replace(".", " ").replace("-", " "), host):
        yield "BRAND_MISMATCH", "host"


def _disguises(host: str) -> Iterator[str]:
    if "xn--" in host:
        yield "punycode"
    if host.count(".") > 3:
        yield "deep"
    if host.count("-") > 2:
        yield "hyphens"
    if looks_random(host):
        yield "random"


def _url_tokens(url: Url, to_local: str) -> Iterator[Token]:
    yield "LINKS", "scheme:" + (url.scheme or "none")
    if url.user:
        yield "LINK_DISGUISED", "user"
    if url.port and url.port not in ("80", "443"):
        yield "LINK_DISGUISED", "port"
    shown = shown_host(url)
    if shown:
        same = organisation(shown) == organisation(url.host)
        yield ("LINKS", "shown-same") if same else ("LINK_TEXT_DIFFERS", "host")
    size = len(url.path) + len(url.query)
    yield "LINKS", "path:" + bucket(size // 16)
    if url.query:
        yield "LINKS", "query"
    if len(to_local) > 2 and (
        to_local + "@" in url.query or to_local + "%40" in url.query or to_local + "@" in url.path
    ):
        yield "RECIPIENT_NAMED", "link"
    ending = url.path.rpartition("/")[2].rpartition(".")[2][:5].lower()
    if ending in ("php", "html", "htm", "asp", "aspx", "cgi", "exe", "zip"):
        yield "LINKS", "ends:" + ending


def _picture_tokens(urls: list[Url], own: str) -> Iterator[Token]:
    pictures = [url for url in urls if url.tag not in CLICKABLE]
    if not pictures:
        return
    yield "PICTURES", "remote:" + bucket(len(pictures))
    if own:
        yield "PICTURES", "own" if any(organisation(url.host) == own for url in pictures) else "other"
    if any(is_address(url.host) for url in pictures):
        yield "LINK_TO_ADDRESS", "picture"
