"""When a part starts again, how its lines look, what the start prints."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import supervision
from gateway.rules.supervision import Access, LinePrefixer, Part

DEMO = {
    "email": "alice@acme.example",
    "password": "look, a 'quote'",
    "smtp_host": "127.0.0.1",
    "smtp_port": 2525,
    "username": "acme-web",
    "secret": "s3cret $HOME",
    "sender": "alice@acme.example",
    "recipient": "charlie@globex.example",
    "support_email": "sam@smg.example",
    "support_password": "sam's",
}


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (10_000, 30.0)]
)
def test_restarts_slow_down(failures: int, delay_s: float) -> None:
    assert supervision.restart_delay_s(failures) == delay_s


def test_a_long_life_forgives_the_failures_before_it() -> None:
    assert supervision.failures_in_a_row(7, ran_s=0.2) == 8
    assert supervision.failures_in_a_row(7, ran_s=61) == 1


@pytest.mark.parametrize(("code", "text"), [(3, "ended with code 3"), (-9, "was killed by signal 9")])
def test_ending(code: int, text: str) -> None:
    assert supervision.ending(code) == text


def test_lines_get_their_name_in_front() -> None:
    lines = LinePrefixer("web", width=5, colour=False)
    assert lines.feed(b"one\ntw") == b"web   | one\n"
    assert lines.feed(b"o\n") == b"web   | two\n"
    assert lines.finish() == b""
    assert lines.feed(b"no end") == b""
    assert lines.finish() == b"web   | no end\n"


def test_colour_only_when_asked() -> None:
    assert LinePrefixer("relay", 5, colour=True).feed(b"a\n") == b"\x1b[32mrelay | \x1b[0ma\n"


def test_a_line_without_end_is_cut() -> None:
    lines = LinePrefixer("web", 3, colour=False)
    out = lines.feed(b"x" * 20_000) + lines.feed(b"y" * 20_000)
    assert out.count(b"web | ") == 2
    assert out.replace(b"web | ", b"").replace(b"\n", b"") == b"x" * 20_000 + b"y" * 20_000


@given(st.lists(st.binary(max_size=30)))
def test_pieces_do_not_matter(chunks: list[bytes]) -> None:
    whole, parts = LinePrefixer("a", 1, colour=False), LinePrefixer("a", 1, colour=False)
    expected = whole.feed(b"".join(chunks)) + whole.finish()
    assert b"".join(parts.feed(chunk) for chunk in chunks) + parts.finish() == expected


def test_access_from_the_file() -> None:
    access = Access.from_json(DEMO | {"smtp_port": "2525", "more": "ignored"})
    assert (access.smtp_port, access.support_email) == (2525, "sam@smg.example")


@pytest.mark.parametrize("broken", [{}, {"email": "x"}, DEMO | {"smtp_port": "many"}])
def test_access_refuses_half_a_file(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Access.from_json(broken)


@pytest.mark.parametrize("swaks", [True, False])
def test_the_send_line_survives_the_shell(swaks: bool) -> None:
    line = supervision.send_line(Access.from_json(DEMO), swaks=swaks)
    words = shlex.split(line)
    assert "\n" not in line
    if swaks:
        assert words[0] == "swaks"
        assert words[words.index("--auth-password") + 1] == "s3cret $HOME"
    else:
        assert words[:2] == ["python3", "-c"]
        compile(words[2], "line", "exec")
        assert "'s3cret $HOME'" in words[2]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Part("SMG_CLAMD", "unix:/c", answers=True), []),
        (Part("SMG_CLAMD", "", answers=False), ["no virus scanner"]),
        (Part("SMG_CLAMD", "tcp:h:1", answers=False), ["SMG_CLAMD=tcp:h:1 does not answer"]),
        (Part("SMG_RSPAMD", "", answers=False), ["no Rspamd"]),
        (Part("SMG_OTHER", "", answers=False), ["SMG_OTHER is not set"]),
    ],
)
def test_one_line_for_each_degraded_part(part: Part, expected: list[str]) -> None:
    lines = supervision.degraded_lines([part])
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))


def test_banner_with_everything() -> None:
    text = supervision.banner("http://h", "h:25", Access.from_json(DEMO), "send it", ["no virus scanner"])
    for words in (
        "http://h",
        "alice@acme.example",
        "sam@smg.example",
        "acme-web",
        "send it",
        "Degraded: no virus",
    ):
        assert words in text


def test_banner_without_a_demo_shows_no_log_in() -> None:
    text = supervision.banner("http://h", "h:25", None, "", [])
    assert "Log in" not in text
    assert "Degraded" not in text
