"""What replies mean: real wordings of many servers find the right entry, and every entry is complete."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codes import code_dictionary, read
from gateway.rules import reasons, replies
from gateway.rules.codes import LANGUAGES, MAX_TEXT_CHARS, CodeEntry, Who, build, explain

REPLIES = (Path(__file__).parent / "code_replies.txt").read_text(encoding="utf-8")


def rows():
    for line in REPLIES.splitlines()[1:]:
        reply, reason, key, who = (cell.strip() for cell in line.rsplit("|", 3))
        code, enhanced, text = re.fullmatch(r"(\d+) (?:(\d\.\d+\.\d+) )?(.*)", reply).groups()
        yield pytest.param(int(code), enhanced or "", text, reason, key, Who(who), id=reply[:60])


@pytest.mark.parametrize(("code", "enhanced", "text", "reason", "key", "who"), rows())
def test_replies_find_their_entry(code, enhanced, text, reason, key, who):
    entry = explain(code, enhanced, text, code_dictionary(), reason=reason)
    assert (entry.key, entry.who) == (key, who)


REQUIRED = """
4.2.1 4.2.2 4.3.0 4.3.2 4.4.1 4.4.2 4.4.7 4.7.0 4.7.1 4.7.5 4.7.28 5.0.0 5.1.0 5.1.1 5.1.2 5.1.3 5.1.8 5.1.10
5.2.1 5.2.2 5.2.3 5.3.4 5.4.1 5.4.4 5.4.6 5.4.14 5.5.2 5.6.0 5.7.0 5.7.1 5.7.9 5.7.20 5.7.21 5.7.22 5.7.23
5.7.25 5.7.26 5.7.27 5.7.30 5.7.509 5.7.511 5.7.515
"""


@pytest.mark.parametrize("enhanced", REQUIRED.split())
def test_the_usual_enhanced_codes_have_an_entry(enhanced):
    assert enhanced in code_dictionary().by_enhanced


def entries() -> list[CodeEntry]:
    return list(code_dictionary().entries)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.key)
def test_an_entry_is_complete_in_both_languages(entry):
    assert re.fullmatch(r"[a-z0-9_]{3,40}", entry.key)
    assert entry.patterns or entry.enhanced or entry.basic or entry.reasons
    assert set(entry.texts) == set(LANGUAGES)
    for text in entry.texts.values():
        assert 8 <= len(text.title) <= 80
        assert not text.title.endswith(".")
        assert text.meaning.endswith(".")
        assert 1 <= len(text.steps) <= 4
        assert all(step.endswith(".") for step in text.steps)
        assert not re.search(
            r"[<>]|  |\n", " ".join([text.title, text.meaning, *text.steps]).replace(" > ", " ")
        )
    english, german = entry.texts["en"], entry.texts["de"]
    assert english.meaning != german.meaning
    assert len(english.steps) == len(german.steps)


def test_the_dictionary_is_big_enough_to_help():
    assert len(entries()) >= 80
    assert {entry.who for entry in entries()} == set(Who)
    assert len({entry.provider for entry in entries()}) >= 12


@pytest.mark.parametrize("reason", [*replies.REASONS, *reasons.REPLIES])
def test_every_reason_word_of_ours_has_an_entry(reason):
    assert reason in code_dictionary().by_reason


@pytest.mark.parametrize(("reason", "reply"), reasons.REPLIES.items())
def test_our_own_refusals_are_explained_as_what_they_are(reason, reply):
    entry = explain(reply.code, reply.enhanced, reply.text, code_dictionary(), reason=reason)
    assert entry in (code_dictionary().by_reason[reason], code_dictionary().get("own_virus"))


def test_other_languages_read_english():
    entry = code_dictionary().get("unknown_user")
    assert entry.text("fr") == entry.text("en") != entry.text("de") == entry.text("de-AT")
    assert code_dictionary().get("no such key") is None


ENTRY = """
- key: {key}
  enhanced: ['5.1.1']
  basic: ['2xx', '4xx', '5xx', '0']
  who: sender
  retry: false
  en: {{title: t, meaning: m, steps: [s]}}
  de: {{title: t, meaning: m, steps: [s]}}
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ENTRY.format(key="a") + ENTRY.format(key="b"), "claimed by a and b"),
        (ENTRY.format(key="a") + "\n  wrong: 1\n", "unknown wrong"),
        (ENTRY.format(key="a").replace("'0'", "'1'"), "no entry for the basic codes 0"),
        (ENTRY.format(key="a").replace("sender", "everybody"), "everybody"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(text, why):
    with pytest.raises(ValueError, match=why):
        read(text)


def test_the_same_key_twice_is_wrong():
    with pytest.raises(ValueError, match="key 'unknown_user'"):
        build([*entries(), code_dictionary().get("unknown_user")])


@given(st.integers(0, 999), st.sampled_from(["", "5.1.1", "4.x", "...", "5.7.606", "9.9.9999"]), st.text())
def test_any_reply_has_an_entry(code, enhanced, text):
    assert explain(code, enhanced, text, code_dictionary()) in entries()


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6,
        "listed " * 10**5,
        "user a " * 10**5,
        "attachment " * 10**5,
        "[TSS04] " * 10**5,
        " " * 10**6,
    ],
)
def test_hostile_texts_cost_little(text):
    started = time.process_time()
    explain(554, "", text, code_dictionary())
    assert time.process_time() - started < 0.2
    assert MAX_TEXT_CHARS == 1000
