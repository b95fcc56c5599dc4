"""Encryption of the hop: what each level takes, and that nothing demanded is ever given up for clear text."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gateway.rules.policy import GatewayPolicy
from gateway.rules.route_types import TlsDemand
from gateway.rules.types import OnFailure, Pool, State, TlsLevel
from tests.fake_next_hop import DROP, STALL, FakeNextHop
from tests.gateway.deliver.helpers import Sending, hop_of, job, route
from tests.gateway.tls_certs import HOST, Certificates, certificate, fingerprint, tlsa

ENCRYPT = TlsDemand(TlsLevel.ENCRYPT, "rule", on_failure=OnFailure.REJECT)
VERIFY = TlsDemand(TlsLevel.VERIFY, "rule", names=(HOST, "partner.example"), on_failure=OnFailure.REJECT)
HOLD = replace(VERIFY, on_failure=OnFailure.HOLD)
STS = TlsDemand(TlsLevel.VERIFY, "mta-sts", names=(HOST,))
ANY = TlsDemand()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certs"))


@pytest.fixture
async def sending(certs: Certificates) -> AsyncIterator[Sending]:
    made = Sending(ca_file=certs.ca_file, now=datetime.now(UTC))
    yield made
    made.deliverer.close()


def server(certs: Certificates, kind: str, directory: Path) -> ssl.SSLContext | None:
    if kind == "none":
        return None
    if kind == "weak":
        return certs.weak(certs.good)
    if kind == "alert":
        return certs.server(certs.good)
    return certs.server(getattr(certs, kind))


@pytest.mark.parametrize(
    ("kind", "demand", "state", "encrypted"),
    [
        ("good", ANY, State.DELIVERED, True),
        ("expired", ANY, State.DELIVERED, True),
        ("untrusted", ANY, State.DELIVERED, True),
        ("weak", ANY, State.DELIVERED, True),
        ("none", ANY, State.DELIVERED, False),
        ("good", ENCRYPT, State.DELIVERED, True),
        ("expired", ENCRYPT, State.DELIVERED, True),
        ("untrusted", ENCRYPT, State.DELIVERED, True),
        ("weak", ENCRYPT, State.QUEUED, None),  # it hangs up without an alert: perhaps another time
        ("none", ENCRYPT, State.BOUNCED, None),
        ("good", replace(ENCRYPT, min_version="TLSv1.3"), State.DELIVERED, True),
        ("good", VERIFY, State.DELIVERED, True),
        ("wildcard", VERIFY, State.DELIVERED, True),
        ("expired", VERIFY, State.BOUNCED, None),
        ("untrusted", VERIFY, State.BOUNCED, None),
        ("wrong_name", VERIFY, State.BOUNCED, None),
        ("none", VERIFY, State.BOUNCED, None),
        ("wrong_name", HOLD, State.HELD, None),
        ("none", HOLD, State.HELD, None),
        ("wrong_name", STS, State.QUEUED, None),
        ("none", STS, State.QUEUED, None),
        ("good", STS, State.DELIVERED, True),
        ("good", TlsDemand(TlsLevel.NONE), State.DELIVERED, False),
    ],
)
async def test_levels(
    certs: Certificates,
    sending: Sending,
    tmp_path: Path,
    kind: str,
    demand: TlsDemand,
    state: State,
    encrypted: bool | None,
) -> None:
    async with FakeNextHop(tls=server(certs, kind, tmp_path)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, demand)))
        assert outcome.state is state
        assert [message.encrypted for message in hop.messages] == ([] if encrypted is None else [encrypted])
        if encrypted is None:
            assert not any(line.startswith(("MAIL", "RCPT", "DATA")) for line in hop.commands)
        if encrypted is None and kind != "weak":
            assert outcome.reason == "tls_required"
            assert outcome.reply.enhanced == ("5.7.10" if state is State.BOUNCED else "4.7.10")


@pytest.mark.parametrize(
    ("kind", "result", "words"),
    [
        ("none", "starttls-not-supported", "mx.partner.example does not offer STARTTLS"),
        ("expired", "certificate-expired", "certificate has expired"),
        ("untrusted", "certificate-not-trusted", "unable to get local issuer certificate"),
        ("wrong_name", "certificate-host-mismatch", "the certificate is not for mx.partner.example"),
        (
            "alert",
            "validation-failure",
            "TLS handshake with mx.partner.example failed: tlsv1 alert protocol version",
        ),
    ],
)
async def test_the_reason_is_told(
    certs: Certificates, sending: Sending, tmp_path: Path, kind: str, result: str, words: str
) -> None:
    async with FakeNextHop(tls=server(certs, kind, tmp_path), tls_alert=70 if kind == "alert" else 0) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, VERIFY)))
    assert outcome.state is State.BOUNCED
    assert words in outcome.reply.text
    assert [(one.result, one.info) for one in sending.seen] == [(result, None)]


async def test_what_was_agreed_is_told(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, VERIFY)))
    info = outcome.tls
    assert info is not None
    assert (info.version, info.verified, info.subject, info.policy) == ("TLSv1.3", True, HOST, "rule")
    assert info.cipher.startswith("TLS_")
    assert info.fingerprint == fingerprint(certs.good)
    assert sending.seen[0].info == info


async def test_a_pinned_certificate(certs: Certificates, sending: Sending) -> None:
    """The pin replaces chain and name: the partner's own self-made certificate is good, any other is not."""
    pinned = replace(VERIFY, fingerprint=fingerprint(certs.untrusted))
    async with FakeNextHop(tls=certs.server(certs.untrusted)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, pinned)))
        assert outcome.state is State.DELIVERED
        assert outcome.tls is not None
        assert outcome.tls.verified
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        assert (await sending.one(job(), route(hop_of(hop, pinned)))).state is State.BOUNCED


# -- opportunistic encryption that breaks


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "502 no such command"])
async def test_a_refused_starttls_goes_on_in_clear_only_without_a_policy(
    certs: Certificates, sending: Sending, reply: str
) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        hop.say("STARTTLS", reply)
        assert (await sending.one(job(), route(hop_of(hop)))).state is State.DELIVERED
        assert hop.connections == 1
        outcome = await sending.one(job(), route(hop_of(hop, VERIFY)))
        assert outcome.state is (State.QUEUED if reply.startswith("454") else State.BOUNCED)
        assert len(hop.messages) == 1


async def test_after_a_broken_handshake_clear_text_is_only_for_mail_without_a_policy(
    certs: Certificates, sending: Sending
) -> None:
    async with FakeNextHop(tls=certs.server(certs.good), tls_alert=40) as hop:
        assert (await sending.one(job(), route(hop_of(hop, VERIFY)))).state is State.BOUNCED
        assert (await sending.one(job(), route(hop_of(hop, STS)))).state is State.QUEUED
        assert hop.messages == []
        outcome = await sending.one(job(), route(hop_of(hop)))
        assert (outcome.state, outcome.tls) == (State.DELIVERED, None)
        assert [message.encrypted for message in hop.messages] == [False]


@pytest.mark.parametrize(
    "host", ["x" * 70 + ".example", "a..example", ".example", "\\000\\255.example", "mx_1.example"]
)
async def test_odd_host_names_from_the_dns(certs: Certificates, sending: Sending, host: str) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        assert (await sending.one(job(), route(hop_of(hop, host=host)))).state is State.DELIVERED
        assert (await sending.one(job(), route(hop_of(hop, VERIFY, host=host)))).state in (
            State.BOUNCED,
            State.DELIVERED,
        )


async def test_hanging_up_in_the_handshake_is_temporary(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        hop.say("STARTTLS", DROP)
        assert (await sending.one(job(), route(hop_of(hop, VERIFY)))).state is State.QUEUED
        assert hop.messages == []


async def test_injected_octets_behind_the_220_are_not_believed(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        hop.after_starttls = b"250-fake.example\r\n250 SIZE 1\r\n"
        outcome = await sending.one(job(), route(hop_of(hop, ENCRYPT)))
        assert outcome.state is State.BOUNCED
        assert "in clear after its answer to STARTTLS" in outcome.reply.text
        assert hop.messages == []


async def test_the_features_of_the_clear_ehlo_are_forgotten(certs: Certificates, sending: Sending) -> None:
    """A man in the middle may have written the first EHLO; what counts is the one under TLS."""
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        await sending.one(job(), route(hop_of(hop)))
        assert [line for line in hop.commands if line.startswith("EHLO")] == ["EHLO mta01.smg.example"] * 2


# -- several hosts


async def test_the_next_host_may_be_able_to_encrypt(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop() as bare, FakeNextHop(tls=certs.server(certs.good)) as good:
        outcome = await sending.one(job(), route(hop_of(bare, VERIFY), hop_of(good, VERIFY)))
        assert outcome.state is State.DELIVERED
        assert (len(bare.messages), len(good.messages)) == (0, 1)


async def test_not_rejected_while_a_host_is_out_of_reach(impatient: Sending) -> None:
    async with FakeNextHop() as bare, FakeNextHop() as silent:
        silent.say("BANNER", STALL)
        outcome = await impatient.one(job(), route(hop_of(silent, VERIFY), hop_of(bare, VERIFY)))
        assert outcome.state is State.QUEUED


async def test_a_demand_that_cannot_be_met_is_not_even_tried(sending: Sending) -> None:
    async with FakeNextHop() as hop:
        blocked = replace(ENCRYPT, level=TlsLevel.DANE, blocked="mx has no TLSA records")
        outcome = await sending.one(job(), route(hop_of(hop, blocked)))
        assert (outcome.state, outcome.reply.text) == (State.BOUNCED, "mx has no TLSA records")
        assert hop.connections == 0


# -- sessions and demands


async def test_a_session_of_a_weaker_demand_is_not_reused(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.wrong_name)) as hop:
        assert (await sending.one(job(), route(hop_of(hop)))).state is State.DELIVERED
        assert (await sending.one(job(), route(hop_of(hop, VERIFY)))).state is State.BOUNCED


# -- shadow rules and MTA-STS in testing mode


async def test_a_shadow_demand_is_recorded_and_nothing_else(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.wrong_name)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, TlsDemand(shadow=VERIFY))))
        assert outcome.state is State.DELIVERED
        assert hop.messages[0].encrypted
    assert [(one.shadow, one.result, one.message_id) for one in sending.seen] == [
        (True, "certificate-host-mismatch", 7),
        (False, "", 7),
    ]


async def test_a_shadow_demand_that_would_hold_costs_no_second_connection(
    certs: Certificates, sending: Sending
) -> None:
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, TlsDemand(shadow=VERIFY))))
        assert outcome.tls is not None
        assert outcome.tls.verified
        assert hop.connections == 1
    assert [(one.shadow, one.result) for one in sending.seen] == [(True, ""), (False, "")]


async def test_a_rule_in_shadow_mode_is_told_of_every_message(certs: Certificates, sending: Sending) -> None:
    async with FakeNextHop(tls=certs.server(certs.wrong_name)) as hop:
        for shadow in (VERIFY, STS):
            sending.seen.clear()
            for number in (7, 8):
                work = replace(job(), message_id=number)
                await sending.one(work, route(hop_of(hop, TlsDemand(shadow=shadow))))
            told = [one.message_id for one in sending.seen if one.shadow]
            assert told == ([7, 8] if shadow is VERIFY else [7])  # a domain's policy counts connections


# -- REQUIRETLS


async def test_requiretls_is_passed_on(certs: Certificates, sending: Sending) -> None:
    demand = TlsDemand(
        TlsLevel.VERIFY, "requiretls", names=(HOST,), on_failure=OnFailure.REJECT, require_tls=True
    )
    async with FakeNextHop(tls=certs.server(certs.good), features=("PIPELINING", "REQUIRETLS")) as hop:
        assert (await sending.one(job(require_tls=True), route(hop_of(hop, demand)))).state is State.DELIVERED
        assert hop.messages[0].mail.endswith(" REQUIRETLS")
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        outcome = await sending.one(job(require_tls=True), route(hop_of(hop, demand)))
        assert (outcome.state, outcome.reply.enhanced, outcome.reason) == (
            State.BOUNCED,
            "5.7.30",
            "requiretls",
        )


# -- DANE


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
async def test_dane_ee(certs: Certificates, sending: Sending, selector: int, matching: int) -> None:
    """DANE-EE looks at the key alone: an expired certificate of an unknown authority for another name is right."""
    leaf = certs.expired
    demand = TlsDemand(TlsLevel.DANE, "dane", tlsa=(tlsa(3, selector, matching, certificate(leaf)),))
    async with FakeNextHop(tls=certs.server(leaf)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, demand)))
        assert outcome.state is State.DELIVERED
        assert outcome.tls is not None
        assert (outcome.tls.verified, outcome.tls.policy) == (True, "dane")
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, demand)))
        assert (outcome.state, outcome.reason) == (State.QUEUED, "tls_required")


@pytest.mark.parametrize(
    ("kind", "name", "delivered"),
    [
        ("good", HOST, True),
        ("good", "mx.elsewhere.example", False),
        ("wrong_name", HOST, False),
        ("expired", HOST, False),
        ("untrusted", HOST, False),
    ],
)
@pytest.mark.parametrize("record", [(2, 0, 1), (2, 1, 1), (2, 1, 2)])
async def test_dane_ta(
    certs: Certificates,
    sending: Sending,
    tmp_path: Path,
    kind: str,
    name: str,
    delivered: bool,
    record: tuple[int, int, int],
) -> None:
    authority = x509.load_pem_x509_certificate(certs.ca.cert_pem.bytes())
    demand = TlsDemand(TlsLevel.DANE, "dane", names=(name,), tlsa=(tlsa(*record, authority),))
    async with FakeNextHop(tls=certs.with_root(getattr(certs, kind), tmp_path)) as hop:
        outcome = await sending.one(job(), route(hop_of(hop, demand)))
    assert (outcome.state is State.DELIVERED) is delivered


async def test_dane_ta_with_the_authority_in_the_record(certs: Certificates, sending: Sending) -> None:
    authority = x509.load_pem_x509_certificate(certs.ca.cert_pem.bytes())
    demand = TlsDemand(TlsLevel.DANE, "dane", names=(HOST,), tlsa=(tlsa(2, 0, 0, authority),))
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:  # does not send its root
        assert (await sending.one(job(), route(hop_of(hop, demand)))).state is State.DELIVERED


async def test_one_good_record_among_bad_ones_is_enough(certs: Certificates, sending: Sending) -> None:
    records = (tlsa(3, 1, 1, certificate(certs.expired)), tlsa(3, 1, 1, certificate(certs.good)))
    async with FakeNextHop(tls=certs.server(certs.good)) as hop:
        demand = TlsDemand(TlsLevel.DANE, "dane", tlsa=records)
        assert (await sending.one(job(), route(hop_of(hop, demand)))).state is State.DELIVERED


# -- passwords


async def test_a_password_is_not_sent_in_clear_to_another_machine(
    certs: Certificates, sending: Sending
) -> None:
    smart = GatewayPolicy(
        id=2, name="s", pool=Pool.GOOD, hostname="s.example", next_hop="relay.example:587",
        next_hop_username="smg", next_hop_password="s3cret",
    )  # fmt: skip
    async with FakeNextHop(features=("AUTH PLAIN",)) as hop:
        monkey = pytest.MonkeyPatch()
        monkey.setattr("gateway.outbound.session._is_loopback", lambda _ip: False)
        with monkey.context():
            outcome = await sending.one(job(), route(hop_of(hop), gateway=smart, smart_host=True))
        monkey.undo()
        assert (outcome.state, outcome.reason) == (State.QUEUED, "login")
        assert not any("AUTH" in line for line in hop.commands)


async def test_a_password_is_not_sent_in_clear_when_the_handshake_breaks(
    certs: Certificates, sending: Sending
) -> None:
    smart = GatewayPolicy(
        id=2, name="s", pool=Pool.GOOD, hostname="s.example", next_hop="relay.example:587",
        next_hop_username="smg", next_hop_password="s3cret",
    )  # fmt: skip
    async with FakeNextHop(features=("AUTH PLAIN",), tls=certs.server(certs.good), tls_alert=40) as hop:
        outcome = await sending.one(job(), route(hop_of(hop), gateway=smart, smart_host=True))
        assert (outcome.state, outcome.reason) == (State.QUEUED, "tls_required")
        assert not any("AUTH" in line for line in hop.commands)


def test_expired_means_expired(certs: Certificates) -> None:
    assert certificate(certs.expired).not_valid_after_utc < datetime.now(UTC) - timedelta(hours=1)
