"""What breaks inside is temporary for the client, and says nothing of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.accept import Timeouts
from gateway.rules.types import Envelope, Refused, Reply
from tests.gateway.accept.house import FakeGatekeeper, open_house, run
from tests.gateway.accept.scripts import DATA, LOGGED_IN, PLAIN, QUIT, logged_in


@pytest.mark.parametrize(
    ("broken", "script", "code"),
    [
        ("check_sender", "C: MAIL FROM:<alice@acme.example>\n", "451 4.3.0"),
        (
            "check_recipient",
            "C: MAIL FROM:<alice@acme.example>\nS: 250 2.1.0 Ok\nC: RCPT TO:<b@globex.example>\n",
            "451 4.3.0",
        ),
        ("receive", DATA + "C! x\\r\\n.\\r\\n\n", "451 4.3.0"),
    ],
)
def test_a_breakdown_is_temporary_and_says_nothing_of_itself(
    tmp_path: Path, broken: str, script: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {broken}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            dialogue = await logged_in(house)
            await dialogue.play(script)
            answer = await dialogue.line()
            assert answer.startswith(f"{code} Temporary failure, please try again later (error ")
            assert "internal detail" not in answer
            error_id = answer.removesuffix(")").split()[-1]
            assert error_id in caplog.text
            assert "internal detail of " + broken in caplog.text
            await dialogue.play(QUIT)
            await dialogue.close()

    run(main())
    assert not keeper.envelopes


def test_a_breakdown_at_login_is_454(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"authenticate"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                "S: 220 relay.test ESMTP\nC: EHLO x\nS> ehlo\n" + f"C: AUTH PLAIN {PLAIN}\n" * 1
                + "S: 454 4.7.0 Temporary authentication failure\n" + QUIT,
                implicit_tls=True,
            )  # fmt: skip
            assert house.servers.reception.guard.wait_s("127.0.0.1", "acme-web", 0) == 0

    run(main())


def test_a_breakdown_of_the_book_keeping_does_not_stop_mail(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"transaction_ended", "record_refusal", "observe"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            script = (
                f"{LOGGED_IN}C: MAIL FROM:<x>\nS: 501 5.1.7 Bad sender address: address has no domain\n{DATA}"
            )
            await house.play(
                f"{script}C! x\\r\\n.\\r\\n\nS: 250 2.0.0 Ok: queued as m1\n{QUIT}", implicit_tls=True
            )

    run(main())
    assert len(keeper.envelopes) == 1


def test_a_house_without_a_policy_says_421(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.broken = {"snapshot"}

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play("S: 421 4.3.0 Temporary failure, try again later\nEND")

    run(main())


def test_a_check_that_does_not_answer_is_temporary(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()

    async def never(_envelope: Envelope) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    keeper.on_receive = never

    async def main() -> None:
        async with open_house(tmp_path, keeper, timeouts=Timeouts(receive_s=0.05, close_s=0.1)) as house:
            dialogue = await logged_in(house)
            await dialogue.play(DATA)
            await dialogue.send(b"x\r\n.\r\n")
            assert (await dialogue.line()).startswith("451 4.3.0 Temporary failure")
            await dialogue.close()

    run(main())
    assert keeper.ended == [False]


def test_refusals_of_the_gatekeeper_are_told_word_for_word(tmp_path: Path) -> None:
    keeper = FakeGatekeeper()
    keeper.sender_refused = {
        "a@nowhere.example": Refused(Reply(550, "", "Sender Domain must resolve"), "sender_domain"),
        "fast@acme.example": Refused(Reply(451, "", "Ratelimit reached"), "rate_limit"),
    }
    keeper.recipient_refused = {
        "x@bank.example": Refused(Reply(550, "5.7.10", "Encryption\r\n250 needed \N{SNOWMAN}"), "tls")
    }

    async def main() -> None:
        async with open_house(tmp_path, keeper) as house:
            await house.play(
                LOGGED_IN
                + """
                C: MAIL FROM:<a@nowhere.example>
                S: 550 Sender Domain must resolve
                C: MAIL FROM:<fast@acme.example>
                S: 451 Ratelimit reached
                C: MAIL FROM:<alice@acme.example>
                S: 250 2.1.0 Ok
                C: RCPT TO:<x@bank.example>
                S: 550 5.7.10 Encryption??250 needed ?
                """,
                implicit_tls=True,
            )

    run(main())
    assert [refusal[:2] for refusal in keeper.refusals] == [
        ("mail", "sender_domain"),
        ("mail", "rate_limit"),
        ("rcpt", "tls"),
    ]
    assert keeper.ended == [False]  # once, for the MAIL that was let through
