"""AUTH: mechanisms in any case and form, what is refused, and how guessing is slowed down."""

from __future__ import annotations

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.accept import Login
from gateway.rules.limits import LoginGuard, LoginLimits
from gateway.rules.policy import Snapshot
from tests.gateway.accept.house import FakeGatekeeper, open_house, run

OK = "235 2.7.0 Authentication successful"
INVALID = "535 5.7.8 Authentication credentials invalid"
UNREADABLE = "501 5.5.2 Cannot decode the response"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


GOOD = b64("\0acme-web\0s3cret")
USER, SECRET = b64("acme-web"), b64("s3cret")

GREETED = """
S: 220 relay.test ESMTP
C: EHLO mail.acme.example
S> ehlo
"""


def play(tmp_path: Path, script: str, loop: str = "asyncio") -> FakeGatekeeper:
    keeper = FakeGatekeeper()

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(GREETED + script, implicit_tls=True)

    run(main(), loop)
    return keeper


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "exchange",
    [
        ["C: AUTH PLAIN " + GOOD, "S: " + OK],
        ["C: auth plain " + GOOD, "S: " + OK],
        ["C: AUTH Plain", "S: 334", "C: " + GOOD, "S: " + OK],
        ["C: AUTH PLAIN " + b64("acme-web\0acme-web\0s3cret"), "S: " + OK],
        ["C: AUTH PLAIN " + b64("ACME-Web\0acme-web\0s3cret"), "S: " + OK],
        [
            "C: AUTH LOGIN",
            "S: 334 VXNlcm5hbWU6",
            "C: " + USER,
            "S: 334 UGFzc3dvcmQ6",
            "C: " + SECRET,
            "S: " + OK,
        ],
        ["C: auth login " + USER, "S: 334 UGFzc3dvcmQ6", "C: " + SECRET, "S: " + OK],
    ],
)
def test_ways_to_log_in(tmp_path: Path, exchange: list[str], loop: str) -> None:
    keeper = play(
        tmp_path, "\n".join([*exchange, "C: MAIL FROM:<alice@acme.example> AUTH=<>", "S: 250 2.1.0 Ok"]), loop
    )
    assert keeper.logins == [("acme-web", "s3cret")]


@pytest.mark.parametrize(
    "exchange",
    [
        ["C: AUTH PLAIN " + b64("\0acme-web\0wrong"), "S: " + INVALID],
        ["C: AUTH PLAIN " + b64("\0nobody\0s3cret"), "S: " + INVALID],
        ["C: AUTH PLAIN " + b64("globex-app\0acme-web\0s3cret"), "S: " + INVALID],
        ["C: AUTH PLAIN " + b64("\0\0"), "S: " + INVALID],
        ["C: AUTH PLAIN " + b64("\0acme-web\0"), "S: " + INVALID],
        ["C: AUTH PLAIN " + b64("\0" + "a" * 300 + "\0x"), "S: " + INVALID],
        [
            "C: AUTH LOGIN",
            "S: 334 VXNlcm5hbWU6",
            "C: " + USER,
            "S: 334 UGFzc3dvcmQ6",
            "C: " + USER,
            "S: " + INVALID,
        ],
        ["C: AUTH PLAIN " + b64("acme-web\0s3cret"), "S: " + UNREADABLE],
        ["C: AUTH PLAIN " + b64("\0acme-web\0s3cret\0"), "S: " + UNREADABLE],
        ["C: AUTH PLAIN " + b64(b"\0acme-web\0\xff"), "S: " + UNREADABLE],
        ["C: AUTH PLAIN =", "S: " + UNREADABLE],
        ["C: AUTH PLAIN ?", "S: " + UNREADABLE],
        ["C: AUTH PLAIN " + GOOD + " x", "S: " + UNREADABLE],
        ["C: AUTH PLAIN", "S: 334", "C: *", "S: 501 5.7.0 Authentication cancelled"],
        ["C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: *", "S: 501 5.7.0 Authentication cancelled"],
        ["C: AUTH LOGIN " + USER, "S: 334 UGFzc3dvcmQ6", "C: *", "S: 501 5.7.0 Authentication cancelled"],
        ["C: AUTH PLAIN", "S: 334", "C! " + GOOD + r"\n", "S: " + UNREADABLE],
        [
            "C: AUTH PLAIN",
            "S: 334",
            "C: " + "A" * 13000,
            "S: 500 5.5.6 Authentication exchange line is too long",
        ],
        ["C: AUTH PLAIN " + "A" * 13000, "S: 500 5.5.2 Command line too long"],
        ["C: AUTH CRAM-MD5", "S: 504 5.5.4 Unrecognized authentication type"],
        ["C: AUTH", "S: 504 5.5.4 Unrecognized authentication type"],
        ["C: MAIL FROM:<alice@acme.example> AUTH=a=b", "S: 530 5.7.0 Authentication required"],
    ],
)
def test_no_way_in(tmp_path: Path, exchange: list[str]) -> None:
    """And afterwards the session is alive, and still nobody's."""
    play(
        tmp_path,
        "\n".join([*exchange, "C: MAIL FROM:<alice@acme.example>", "S: 530 5.7.0 Authentication required"]),
    )


def test_a_failure_is_recorded_with_what_was_tried(tmp_path: Path) -> None:
    keeper = play(tmp_path, f"C: AUTH PLAIN {b64(chr(0) + 'acme-web' + chr(0) + 'x')}\nS: {INVALID}")
    assert keeper.refusals == [("auth", "login", 535, "", "")]


def test_three_failures_end_the_session(tmp_path: Path) -> None:
    wrong = f"C: AUTH PLAIN {b64(chr(0) + 'acme-web' + chr(0) + 'x')}\n"
    play(
        tmp_path,
        f"{wrong}S: {INVALID}\n{wrong}S: {INVALID}\n{wrong}S: {INVALID}\n{wrong}"
        "S: 421 4.7.0 Too many failed log-ins, closing connection\nEND",
    )


def test_guessing_from_many_connections_is_slowed_down(tmp_path: Path) -> None:
    """Time is the test's: nobody sleeps."""
    now = [1000.0]
    keeper = FakeGatekeeper()
    waiting = "454 4.7.0 Too many failed log-ins, try again later"

    async def attempt(house: object, secret: str) -> str:
        dialogue = await house.connect(implicit_tls=True)  # type: ignore[attr-defined]
        await dialogue.play(GREETED)
        await dialogue.send(f"AUTH PLAIN {b64(chr(0) + 'acme-web' + chr(0) + secret)}\r\n".encode())
        answer = await dialogue.line()
        await dialogue.close()
        return answer

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            reception = house.servers.reception
            reception.monotonic = lambda: now[0]
            reception.guard = LoginGuard(
                LoginLimits(free_per_account=2, free_per_address=4, lock_address_after=6)
            )
            assert [await attempt(house, "x") for _ in range(3)] == [INVALID, INVALID, waiting]
            assert len(keeper.logins) == 2  # the third was not even looked at
            assert await attempt(house, "s3cret") == waiting
            now[0] += 2
            assert await attempt(house, "s3cret") == OK
            assert await attempt(house, "s3cret") == OK
            for _ in range(4):
                now[0] += 600
                assert await attempt(house, "x") == INVALID
            assert await attempt(house, "s3cret") == "421 4.7.0 Too many failed log-ins, closing connection"
            now[0] += 900
            assert await attempt(house, "s3cret") == OK

    run(main())


def test_a_registered_network_needs_no_login(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.policy = Snapshot(networks=((ip_network("127.0.0.0/8"), 3), (ip_network("127.0.0.1/32"), 7)))
    script = r"""
    S: 220 relay.test ESMTP
    C: HELO old.acme.example
    S: 250 relay.test
    C: MAIL FROM:<alice@acme.example>
    S: 250 2.1.0 Ok
    C: RCPT TO:<bob@globex.example>
    S: 250 2.1.5 Ok
    C: DATA
    S: 354 End data with <CR><LF>.<CR><LF>
    C! x\r\n.\r\n
    S: 250 2.0.0 Ok: queued as m1
    C: EHLO old.acme.example
    S> ehlo
    C: STARTTLS
    S: 220 2.0.0 Ready to start TLS
    TLS
    C: EHLO old.acme.example
    S> ehlo
    """

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                script
                + rf"""
                C: AUTH PLAIN {GOOD}
                S: 235 2.7.0 Authentication successful
                C: MAIL FROM:<alice@acme.example>
                S: 250 2.1.0 Ok
                C: RCPT TO:<bob@globex.example>
                S: 250 2.1.5 Ok
                C: DATA
                S: 354 End data with <CR><LF>.<CR><LF>
                C! x\r\n.\r\n
                S: 250 2.0.0 Ok: queued as m2
                """
            )

    run(main())
    first, second = keeper.envelopes
    assert (first.customer_id, first.credential_id, first.with_protocol) == (7, None, "SMTP")
    assert (second.customer_id, second.credential_id, second.with_protocol) == (1, 11, "ESMTPSA")


def test_starttls_forgets_a_login_but_not_a_network(tmp_path: Path) -> None:
    """RFC 3207, 4.2; what the source address says is not something the client said."""
    keeper = FakeGatekeeper()
    keeper.policy = Snapshot(networks=((ip_network("127.0.0.0/8"), 3),))

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                r"""
                S: 220 relay.test ESMTP
                C: EHLO mail.acme.example
                S> ehlo
                C: MAIL FROM:<alice@acme.example>
                S: 250 2.1.0 Ok
                C: STARTTLS
                S: 220 2.0.0 Ready to start TLS
                TLS
                C: RCPT TO:<bob@globex.example>
                S: 503 5.5.1 Send MAIL first
                C: EHLO mail.acme.example
                S> ehlo
                C: MAIL FROM:<alice@acme.example>
                S: 250 2.1.0 Ok
                """
            )

    run(main())
    assert keeper.ended == [False, False]


def test_a_login_never_shows_its_secret() -> None:
    assert "s3cret" not in repr(Login(1, 2, "acme-web"))
