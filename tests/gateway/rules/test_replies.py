# ruff: noqa: E501 - the texts are as long as their providers make them
"""What replies mean: real texts of real providers, one row each."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.replies import (
    MAX_TEXT_CHARS,
    REASONS,
    Classification,
    Kind,
    classify,
    clean_text,
    parse_reply,
)
from gateway.rules.reply_patterns import BLOCKLISTS, PATTERNS
from gateway.rules.types import Stage

T, P = Kind.TEMPORARY, Kind.PERMANENT
MAIL, RCPT, DATA, DOT, BANNER, EHLO = Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT, Stage.BANNER, Stage.EHLO

ROWS = [
    # Gmail
    (450, "4.2.1", "The user you are trying to contact is receiving mail too quickly. Please resend your message at a later time. - gsmtp", RCPT, T, "rate_limited", ""),
    (550, "5.2.1", "The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. - gsmtp", RCPT, T, "rate_limited", ""),
    (550, "5.1.1", "The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos. NoSuchUser - gsmtp", RCPT, P, "unknown_user", ""),
    (550, "5.2.1", "The email account that you tried to reach is disabled. - gsmtp", RCPT, P, "mailbox_disabled", ""),
    (552, "5.2.2", "The recipient's inbox is out of storage space. Please direct the recipient to storage help - gsmtp", RCPT, P, "quota", ""),
    (452, "4.2.2", "The recipient's inbox is out of storage space and inactive. - gsmtp", RCPT, T, "quota", ""),
    (421, "4.7.28", "Gmail has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited. - gsmtp", DOT, T, "rate_limited", ""),
    (550, "5.7.28", "Our system has detected an unusual rate of unsolicited mail originating from your IP address. - gsmtp", DOT, T, "rate_limited", ""),
    (550, "5.7.26", "This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM. - gsmtp", DOT, P, "authentication", ""),
    (550, "5.7.26", "Unauthenticated email from acme.example is not accepted due to domain's DMARC policy. - gsmtp", DOT, P, "authentication", ""),
    (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked. - gsmtp", DOT, P, "spam", ""),
    (421, "4.7.0", "This message is suspicious due to the very low reputation of the sending IP address. - gsmtp", DOT, T, "reputation", ""),
    (550, "5.7.1", "Our system has detected that this message is suspicious due to the very low reputation of the sending IP address. - gsmtp", DOT, T, "reputation", ""),
    (550, "5.7.25", "The IP address sending this message does not have a PTR record setup, or the corresponding forward DNS entry does not point to the sending IP. - gsmtp", DOT, T, "no_ptr", ""),
    (552, "5.7.0", "This message was blocked because its content presents a potential security issue. - gsmtp", DOT, P, "content", ""),
    (552, "5.3.4", "Your message exceeded Google's message size limits. - gsmtp", DOT, P, "size", ""),
    (421, "4.3.0", "Temporary System Problem. Try again later (10). - gsmtp", DATA, T, "server_error", ""),
    (550, "5.4.5", "Daily user sending limit exceeded. - gsmtp", DOT, T, "rate_limited", ""),
    # Microsoft
    (550, "5.7.606", "Access denied, banned sending IP [203.0.113.5]. To request removal from this list please visit https://sender.office.com/", RCPT, T, "blocklisted", "microsoft"),
    (550, "5.7.1", "Unfortunately, messages from [203.0.113.5] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140).", MAIL, T, "blocklisted", "microsoft"),
    (550, "5.7.708", "Service unavailable. Access denied, traffic not accepted from this IP.", RCPT, T, "blocklisted", "microsoft"),
    (451, "4.7.500", "Server busy. Please try again later from [203.0.113.5]. (S77719)", RCPT, T, "rate_limited", ""),
    (550, "5.4.1", "Recipient address rejected: Access denied. [abc.protection.outlook.com]", RCPT, P, "unknown_user", ""),
    (550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient bob@partner.example not found by SMTP address lookup", DOT, P, "unknown_user", ""),
    (550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302).", RCPT, P, "unknown_user", ""),
    (550, "5.7.515", "Access denied, sending domain acme.example does not meet the required authentication level.", DOT, P, "authentication", ""),
    (550, "5.7.509", "Access denied, sending domain acme.example does not pass DMARC verification and has a DMARC policy of reject.", DOT, P, "authentication", ""),
    (550, "5.7.511", "Access denied, banned sender[203.0.113.5]. To request removal from this list please forward this message", RCPT, P, "sender_blocked", ""),
    (550, "5.7.64", "TenantAttribution; Relay Access Denied [x.protection.outlook.com]", RCPT, P, "relay_denied", ""),
    (452, "4.5.3", "Too many recipients", RCPT, T, "too_many_recipients", ""),
    (554, "5.2.2", "mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded", DOT, P, "quota", ""),
    (451, "4.7.1", "Greylisting in action, please come back later [x.protection.outlook.com]", RCPT, T, "greylisted", ""),
    (421, "4.3.2", "The maximum number of concurrent server connections has exceeded a per-source limit, closing transmission channel", BANNER, T, "rate_limited", ""),
    # Yahoo, AOL
    (421, "4.7.0", "[TSS04] Messages from 203.0.113.5 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1", MAIL, T, "blocklisted", ""),
    (553, "5.7.2", "[TSS09] All messages from 203.0.113.5 will be permanently deferred; Retrying will NOT succeed.", MAIL, T, "blocklisted", ""),
    (554, "", "delivery error: dd This user doesn't have a yahoo.com account (bob@yahoo.com) [0]", DOT, P, "unknown_user", ""),
    (554, "5.7.9", "Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", DOT, P, "login", ""),
    (552, "5.2.2", "The email account that you tried to reach is over quota.", RCPT, P, "quota", ""),
    # GMX, WEB.DE
    (554, "", "gmx.net (mxgmx016) Nemesis ESMTP Service not available No SMTP service Bad DNS PTR resource record.", BANNER, T, "no_ptr", "united-internet"),
    (421, "", "web.de (mxweb112) Nemesis ESMTP Service not available Service closing transmission channel", BANNER, T, "busy", ""),
    (450, "4.5.2", "Requested mail action not taken: mailbox unavailable Sender rate limit exceeded", RCPT, T, "rate_limited", ""),
    (550, "", "Requested action not taken: mailbox unavailable", RCPT, P, "unknown_user", ""),
    (554, "", "Transaction failed Reject due to policy restrictions. For explanation visit https://postmaster.gmx.net/en/error-messages?ip=203.0.113.5&c=sus", DOT, T, "reputation", "united-internet"),
    # t-online
    (554, "", "IP=203.0.113.5 - A problem occurred. Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.", BANNER, T, "reputation", "t-online"),
    (554, "", "IP=203.0.113.5 - None/bad reputation. Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify. (NOWL)", BANNER, T, "reputation", "t-online"),
    # Proofpoint, Cloudmark, iCloud, Barracuda, Mimecast
    (554, "5.7.0", "Blocked - see https://ipcheck.proofpoint.com/?ip=203.0.113.5", BANNER, T, "blocklisted", "proofpoint-pdr"),
    (550, "5.7.0", "Local Policy Violation", DOT, P, "policy", ""),
    (554, "5.7.1", "[HM08] Message rejected due to local policy. Please visit https://support.apple.com", DOT, P, "policy", ""),
    (550, "5.1.0", "Mail rejected: 203.0.113.5 blocked by Cloudmark Sender Intelligence, http://csi.cloudmark.com/reset-request/?ip=203.0.113.5", MAIL, T, "blocklisted", "cloudmark-csi"),
    (554, "5.7.1", "Service unavailable; Client host [203.0.113.5] blocked using Barracuda Reputation; http://www.barracudanetworks.com/reputation/?r=1&ip=203.0.113.5", RCPT, T, "blocklisted", "barracuda-brbl"),
    (550, "", "Rejected by header based Anti-Spoofing policy: alice@acme.example", DOT, P, "refused", ""),
    # Postfix, Exim and others with blocklists
    (554, "5.7.1", "Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/203.0.113.5", RCPT, T, "blocklisted", "spamhaus-zen"),
    (550, "5.7.1", "Service unavailable, Client host [203.0.113.5] blocked using Spamhaus. To request removal from this list see https://www.spamhaus.org/lookup.lasso (AS3130)", RCPT, T, "blocklisted", "spamhaus-zen"),
    (554, "5.7.1", "Service unavailable; Sender address [alice@acme.example] blocked using dbl.spamhaus.org", RCPT, T, "blocklisted", "spamhaus-dbl"),
    (550, "", "JunkMail rejected - mta01.smg.example [203.0.113.5] is in an RBL: Blocked - see https://www.spamcop.net/bl.shtml?203.0.113.5", MAIL, T, "blocklisted", "spamcop"),
    (450, "4.7.1", "Client host rejected: cannot find your reverse hostname, [203.0.113.5]", RCPT, T, "no_ptr", ""),
    (554, "5.7.1", "The IP 203.0.113.5 is listed in dnsbl-1.uceprotect.net", RCPT, T, "blocklisted", "uceprotect-1"),
    (450, "4.2.0", "bob@partner.example: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/partner.example.html", RCPT, T, "greylisted", ""),
    (451, "4.7.1", "Please try again later", RCPT, T, "greylisted", ""),
    (550, "5.1.1", "bob@partner.example: Recipient address rejected: User unknown in virtual mailbox table", RCPT, P, "unknown_user", ""),
    (450, "4.1.1", "bob@partner.example: Recipient address rejected: unverified address", RCPT, T, "unknown_user", ""),
    (550, "", "Unrouteable address", RCPT, P, "unknown_user", ""),
    (550, "", "", RCPT, P, "unknown_user", ""),
    (450, "4.1.8", "alice@acme.example: Sender address rejected: Domain not found", RCPT, T, "sender_unresolvable", ""),
    (554, "5.7.1", "bob@partner.example: Relay access denied", RCPT, P, "relay_denied", ""),
    (554, "5.4.6", "Too many hops: 52", DOT, P, "loop", ""),
    (552, "5.2.3", "Message exceeds maximum fixed size", DOT, P, "size", ""),
    (552, "", "", DOT, P, "size", ""),
    (552, "", "", RCPT, P, "quota", ""),
    (552, "", "Too many recipients", RCPT, T, "too_many_recipients", ""),
    (452, "4.3.1", "Insufficient system storage", MAIL, T, "server_error", ""),
    (530, "5.7.0", "Must issue a STARTTLS command first", MAIL, T, "tls", ""),
    (530, "5.7.0", "Authentication required", MAIL, P, "login", ""),
    (554, "5.7.1", "Spam message rejected", DOT, P, "spam", ""),
    (554, "5.7.1", "Virus Eicar-Test-Signature found", DOT, P, "virus", ""),
    (550, "5.7.1", "SPF check failed: 203.0.113.5 is not allowed to send mail from acme.example", MAIL, P, "authentication", ""),
    (550, "5.7.1", "Attachment type .exe not allowed", DOT, P, "content", ""),
    (550, "5.7.1", "rate limit exceeded, slow down", MAIL, T, "rate_limited", ""),
    (451, "4.3.5", "Server configuration error", RCPT, T, "server_error", ""),
    (553, "", "sender not accepted", MAIL, P, "sender_rejected", ""),
    (503, "5.5.1", "Bad sequence of commands", RCPT, P, "protocol", ""),
    (556, "", "This domain does not accept mail", RCPT, P, "no_mail", ""),
    (550, "5.7.30", "REQUIRETLS support required", MAIL, P, "requiretls", ""),
    (421, "", "", DOT, T, "busy", ""),
    (599, "", "", DOT, P, "refused", ""),
    # before MAIL a 5xx is about this host and us
    (521, "", "Server does not accept mail", BANNER, P, "no_mail", ""),
    (554, "5.7.1", "You are not welcome", BANNER, T, "policy", ""),
    (550, "", "bad HELO", EHLO, T, "refused", ""),
    (535, "5.7.8", "Authentication failed", Stage.AUTH, T, "login", ""),
    # no SMTP
    (354, "", "go on", DOT, T, "garbage", ""),
    (0, "", "", BANNER, T, "garbage", ""),
    (999, "", "", DOT, T, "garbage", ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "enhanced", "text", "stage", "kind", "reason", "blocklist"), ROWS)
def test_replies(
    code: int, enhanced: str, text: str, stage: Stage, kind: Kind, reason: str, blocklist: str
) -> None:
    found = classify(code, enhanced, text, stage)
    assert (found.kind, found.reason, found.blocklist) == (kind, reason, blocklist)
    assert found.reason in REASONS


def test_delivered() -> None:
    assert classify(250, "2.0.0", "Ok: blocked using spamhaus", DOT) == Classification(
        Kind.DELIVERED, "delivered"
    )


@pytest.mark.parametrize(
    ("code", "text", "stage", "bars", "next_host"),
    [
        (554, "blocked using zen.spamhaus.org", RCPT, True, True),
        (554, "bad reputation", BANNER, True, True),
        (450, "greylisted", RCPT, False, False),
        (452, "mailbox full", RCPT, False, False),
        (421, "busy", MAIL, False, True),
        (451, "error", DOT, False, False),  # the message may have been taken: nobody else gets it now
        (550, "user unknown", RCPT, False, False),
        (554, "go away", BANNER, False, True),
    ],
)
def test_what_to_do_next(code: int, text: str, stage: Stage, bars: bool, next_host: bool) -> None:
    found = classify(code, "", text, stage)
    assert (found.bars_gateway, found.try_next_host) == (bars, next_host)


@pytest.mark.parametrize(("code", "text"), [(530, "Authentication required"), (554, "Relay access denied")])
def test_at_the_operators_smart_host_set_up_faults_are_temporary(code: int, text: str) -> None:
    assert classify(code, "5.7.1", text, RCPT).kind is P
    assert classify(code, "5.7.1", text, RCPT, smart_host=True).kind is T


def test_every_pattern_names_a_known_reason() -> None:
    assert {pattern.reason for pattern in PATTERNS} <= set(REASONS)
    assert len({slug for slug, _ in BLOCKLISTS}) == len(BLOCKLISTS)


@given(
    st.integers(0, 999),
    st.sampled_from(["", "4.7.1", "5.1.1", "5.999.999", "5"]),
    st.text(),
    st.sampled_from(Stage),
)
def test_every_reply_gets_a_meaning(code: int, enhanced: str, text: str, stage: Stage) -> None:
    found = classify(code, enhanced, text, stage)
    assert found.reason in REASONS
    if 400 <= code < 500 or code < 200 or code >= 600:
        assert found.kind is T


@pytest.mark.parametrize(
    "unit", ["spam ", "message ", "not ", "mailbox is ", "blocked ", "a", "1.2.3.4 ", "reputation "]
)
def test_long_texts_are_quick(unit: str) -> None:
    started = time.process_time()
    classify(550, "5.7.1", unit * 20_000, DOT)
    assert time.process_time() - started < 0.2


# -- texts from strangers


@pytest.mark.parametrize(
    ("code", "lines", "enhanced", "text"),
    [
        (250, [b"2.0.0 Ok: queued as 1"], "2.0.0", "Ok: queued as 1"),
        (550, [b"5.1.1 one", b"5.1.1 two"], "5.1.1", "one two"),
        (550, [b"4.1.1 the class does not fit"], "", "4.1.1 the class does not fit"),
        (550, [b"5.1.1"], "5.1.1", ""),
        (550, [b"5.1.1x"], "", "5.1.1x"),
        (550, [b"5.1.1234 x"], "", "5.1.1234 x"),
        (550, [b"2001:db8::1 blocked"], "", "2001:db8::1 blocked"),
        (550, [], "", ""),
        (550, [b"", b""], "", ""),
        (550, ["grüße".encode()], "", "grüße"),
        (550, [b"gr\xfc\xdfe"], "", "gr\ufffd\ufffde"),
    ],
)
def test_parse_reply(code: int, lines: list[bytes], enhanced: str, text: str) -> None:
    reply = parse_reply(code, lines)
    assert (reply.code, reply.enhanced, reply.text) == (code, enhanced, text)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("a\r\nb\tc\x00d\x1b[31m", "a b c d [31m"),
        ("a\u202eb\u2066c\u200bd", "abcd"),
        ("\udc80x", "x"),
        ("  many    spaces ", "many spaces"),
        ("x" * 2000, "x" * (MAX_TEXT_CHARS - 1) + "…"),
        ("<script>", "<script>"),  # escaping is the page's business
    ],
)
def test_clean_text(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text(max_size=3000) | st.binary(max_size=3000).map(lambda raw: raw.decode("latin-1")))
def test_clean_text_is_always_harmless(raw: str) -> None:
    found = clean_text(raw)
    assert len(found) <= MAX_TEXT_CHARS
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", found)
    found.encode("utf-8")
