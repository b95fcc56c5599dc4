"""Targets and the names asked for them."""

import pytest

from blacklist.rules.names import (
    ascii_domain,
    canonical_target,
    is_public_address,
    names_of_domain,
    prefix_of_address,
    query_name,
    unrelated_group,
)
from blacklist.rules.types import Kind

SUFFIXES = {"example", "co.uk", "github.io"}


def registrable(domain: str) -> str | None:
    labels = domain.split(".")
    for cut in range(len(labels)):
        if ".".join(labels[cut:]) in SUFFIXES:
            return ".".join(labels[cut - 1 :]) if cut else None
    return ".".join(labels[-2:])


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("192.0.2.10", Kind.IP4, "192.0.2.10"),
        (" 192.0.2.10 ", Kind.IP4, "192.0.2.10"),
        ("2001:DB8:0:0::1", Kind.IP6, "2001:db8::1"),
        ("[2001:db8::1]", Kind.IP6, "2001:db8::1"),
        ("::ffff:192.0.2.10", Kind.IP4, "192.0.2.10"),  # the same machine, folded
        ("Mail.Example.COM.", Kind.DOMAIN, "mail.example.com"),
        ("müller.example", Kind.DOMAIN, "xn--mller-kva.example"),
        ("MÜLLER.example", Kind.DOMAIN, "xn--mller-kva.example"),
        ("mu\u0308ller.example", Kind.DOMAIN, "xn--mller-kva.example"),  # decomposed
        ("straße.example", Kind.DOMAIN, "xn--strae-oqa.example"),  # not strasse: another owner
    ],
)
def test_a_target_has_one_canonical_form(text, kind, value):
    assert canonical_target(text) == (kind, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "a b.example",
        "exa mple",
        "x" * 64 + ".example",
        "-a.example",
        "1.2.3",
        "192.0.2.256",
        ".",
        "a..b",
        "ü" * 80 + ".example",
    ],
)
def test_what_is_no_target_is_refused_in_words(text):
    with pytest.raises(ValueError, match="neither an IP address nor a domain name"):
        canonical_target(text)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (Kind.IP4, "192.0.2.10", "10.2.0.192.bl.example"),
        (Kind.IP6, "2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.example"),
        (Kind.DOMAIN, "spam.example", "spam.example.bl.example"),
    ],
)
def test_query_names(kind, value, name):
    assert query_name(kind, value, "bl.example") == name


def test_the_ipv6_test_entry_is_not_folded_to_ipv4():
    """Folding it would ask for 2.0.0.127 and declare every IPv6 list dead."""
    nibbles = prefix_of_address("::FFFF:7F00:2")
    assert nibbles == "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20
    assert prefix_of_address("127.0.0.2") == "2.0.0.127"


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        ("acme.example", ("acme.example",)),
        ("mail.acme.example", ("mail.acme.example", "acme.example")),
        ("a.b.co.uk", ("a.b.co.uk", "b.co.uk")),
        ("co.uk", ()),  # a public suffix is nobody's
        ("foo.github.io", ("foo.github.io",)),
        ("github.io", ()),
    ],
)
def test_names_of_a_domain_never_include_the_suffix(domain, names):
    assert names_of_domain(domain, registrable) == names


@pytest.mark.parametrize(
    ("address", "public"),
    [("192.0.2.1", True), ("2001:db8::1", True), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1",
    False), ("100.64.0.1", False),
     ("127.0.0.2", False), ("127.0.0.1", False), ("127.0.0.11", True), ("fe80::1", False), ("fd00::1",
     False), ("::", False), ("224.0.0.1", False)],
)  # fmt: skip
def test_addresses_that_strangers_can_know_something_about(address, public):
    assert is_public_address(address) is public


def test_related_targets_are_one_group():
    assert unrelated_group(Kind.IP4, "192.0.2.1", registrable) == unrelated_group(
        Kind.IP4, "192.0.2.254", registrable
    )
    assert unrelated_group(Kind.IP6, "2001:db8::1", registrable) == unrelated_group(
        Kind.IP6, "2001:db8::2:1", registrable
    )
    assert unrelated_group(Kind.DOMAIN, "a.acme.example", registrable) == "acme.example"
    assert unrelated_group(Kind.IP4, "192.0.2.1", registrable) != unrelated_group(
        Kind.IP4, "192.0.3.1", registrable
    )


def test_ascii_domain_keeps_ascii():
    assert ascii_domain("_dmarc.example.com") == "_dmarc.example.com"
