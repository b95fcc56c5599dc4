"""Standard Webhooks: the signature against the specification's example, the back-off and the end of patience."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from portal.webhooks import signing

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_the_example_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = signing.sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_and_differ() -> None:
    one, two = signing.new_secret(), signing.new_secret()
    assert one != two
    assert len(one) == len("whsec_") + 44


def test_a_broken_secret_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a webhook secret"):
        signing.sign("whsec_!!", "msg_1", 1, b"")


@pytest.mark.parametrize(
    ("attempts", "retry_after_s", "wait_s"),
    [
        (1, None, 5),
        (2, None, 60),
        (8, None, 86400),
        (1, 120, 120),
        (1, 10**9, 86400),
        (9, None, None),
        (9, 60, None),
    ],
)
def test_back_off(attempts: int, retry_after_s: int | None, wait_s: int | None) -> None:
    expected = None if wait_s is None else NOW + timedelta(seconds=wait_s)
    assert signing.next_attempt(attempts, NOW, retry_after_s) == expected


@pytest.mark.parametrize(
    ("failures", "since_h", "dead"),
    [(9, 100, False), (10, 47, False), (10, 48, True), (500, 1, False), (0, None, False)],
)
def test_dead(failures: int, since_h: int | None, dead: bool) -> None:
    since = None if since_h is None else NOW - timedelta(hours=since_h)
    assert signing.is_dead(failures, since, NOW) is dead
