"""Local learning in the database: exactly what the pure maths says, undone without a trace, and with appeals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control import appeals, learning
from gateway.models import Appeal, AuditEntry, LocalWord, SpamException
from gateway.spam import LocalCounts, rescore
from gateway.spam.features import extract, pack
from gateway.spam.learn import LocalError, add
from tests.factories import make_customer, make_message
from tests.gateway.spam.mails import HAM, SPAM

pytestmark = pytest.mark.django_db

ALL = {**HAM, **SPAM}
VECTORS = {name: pack(extract(raw)) for name, raw in ALL.items()}
NAMES = sorted(ALL)
NAME = "de-phishing-parcel"
DECISIONS = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=6)


@given(DECISIONS)
@settings(max_examples=25)
def test_the_table_holds_what_the_maths_says(decisions: list[tuple[str, bool]]) -> None:
    expected = LocalCounts()
    with transaction.atomic():
        for name, is_spam in decisions:
            assert learning.learn(VECTORS[name], is_spam=is_spam)
            expected = add(expected, extract(ALL[name]), is_spam)
        assert learning.counts() == expected
        for name, is_spam in decisions:
            assert learning.unlearn(VECTORS[name], is_spam=is_spam)
        assert LocalWord.objects.count() == 0
        transaction.set_rollback(True)


def test_what_was_not_learned_cannot_be_undone() -> None:
    learning.learn(VECTORS[NAME], is_spam=False)
    before = learning.counts()
    assert not learning.unlearn(VECTORS[NAME], is_spam=True)
    assert not learning.unlearn(VECTORS["de-rechnung"], is_spam=False)
    assert learning.counts() == before


@pytest.mark.parametrize("vector", [b"", b"\xff" * 40, VECTORS[NAME][:-1]])
def test_a_vector_that_cannot_be_read_changes_nothing(vector: bytes) -> None:
    assert not learning.learn(vector, is_spam=True)
    assert not learning.unlearn(vector, is_spam=True)
    assert LocalWord.objects.count() == 0


def test_an_accepted_appeal_is_learned_and_undone() -> None:
    message = make_message(make_customer(), category="suspect", score=55)
    appeal = Appeal.objects.create(
        customer=message.customer, message=message, created_by="alice@acme.example", flip=["URL_TEXT"],
        vector=VECTORS[NAME],
    )  # fmt: skip
    assert appeals.accept(appeal, actor="sam@smg.example")
    assert learning.counts().ham == 1
    before = rescore(VECTORS[NAME]).value
    assert rescore(VECTORS[NAME], local=learning.counts()).value < before
    assert SpamException.objects.count() == 1
    assert appeals.undo(appeal, actor="sam@smg.example")
    assert (LocalWord.objects.count(), SpamException.objects.count()) == (0, 0)


def test_counts_move_from_one_installation_to_another(tmp_path: Path) -> None:
    learning.learn(VECTORS[NAME], is_spam=False)
    learning.learn(VECTORS["de-rechnung"], is_spam=False)
    learned = learning.counts()
    path = tmp_path / "learned.json"
    call_command("spam_learning", "export", str(path))
    learning.learn(VECTORS[NAME], is_spam=True)
    call_command("spam_learning", "import", str(path))
    assert learning.counts() == learned
    entry = AuditEntry.objects.get(action="learning.restore")
    assert (entry.actor, entry.detail["ham"]) == ("command line", 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2}',
        '{"version": 1, "ham": -1, "spam": 0, "features": {}}',
        '{"version": 1, "ham": 1, "spam": 0, "features": {"-1": [1, 0]}}',
        json.dumps({"version": 1, "ham": 1 << 40, "spam": 0, "features": {}}),
    ],
)
def test_a_broken_file_changes_nothing(text: str, tmp_path: Path) -> None:
    learning.learn(VECTORS[NAME], is_spam=False)
    before = learning.counts()
    with pytest.raises(LocalError):
        learning.restore(text, actor="sam@smg.example")
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(CommandError):
        call_command("spam_learning", "import", str(tmp_path / "broken.json"))
    with pytest.raises(CommandError):
        call_command("spam_learning", "import", str(tmp_path / "absent.json"))
    assert learning.counts() == before
