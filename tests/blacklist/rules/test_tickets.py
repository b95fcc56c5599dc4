"""The states of a ticket, its deadlines, and what a class of list allows."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from blacklist.control.facts import shipped_providers
from blacklist.rules.requests import (
    RequestClass,
    expected_end,
    mail_address,
    may_send,
    opens_ticket,
    page_address,
    request_class,
)
from blacklist.rules.tickets import ENDED, MOVES, State, TransitionError, check_move, deadline, first_state
from blacklist.rules.types import Severity
from tests.blacklist.rules.lists import row_of

T0 = datetime(2026, 3, 1, 4, tzinfo=UTC)
H, D = timedelta(hours=1), timedelta(days=1)


def test_every_move_is_allowed_or_an_error():
    for old, new in product(State, State):
        if new in MOVES[old]:
            check_move(old, new)
        else:
            with pytest.raises(TransitionError, match=old.value):
                check_move(old, new)


@pytest.mark.parametrize(
    "old", [state for state in State if state not in ENDED and state is not State.DETECTED]
)
def test_from_every_living_state_a_clean_list_a_dead_list_and_support_can_end_it(old):
    for new in {State.CLOSED, State.LIST_INVALID, State.ACCEPTED_RISK, State.DELISTED_PENDING} - {old}:
        check_move(old, new)


def test_nothing_is_requested_before_the_cause_is_fixed():
    for old in (State.OPEN, State.REOPENED, State.INVESTIGATING, State.REJECTED, State.NEEDS_CUSTOMER):
        assert State.REQUESTED not in MOVES[old]


def test_ended_tickets_only_reopen():
    assert MOVES[State.CLOSED] == {State.REOPENED}


def test_every_state_can_be_reached():
    reached = {state for targets in MOVES.values() for state in targets} | {State.DETECTED}
    assert reached == set(State)


@pytest.mark.parametrize(
    ("state", "severity", "expected"),
    [
        (State.OPEN, Severity.CRITICAL, T0 + H),
        (State.INVESTIGATING, Severity.CRITICAL, T0 + 4 * H),
        (State.READY, Severity.CRITICAL, T0 + 4 * H),
        (State.OPEN, Severity.MAJOR, T0 + D),
        (State.OPEN, Severity.MINOR, T0 + 3 * D),
        (State.REQUESTED, Severity.CRITICAL, T0 + 3 * H + D),
        (State.WAITING_EXPIRY, Severity.MINOR, T0 + 7 * D),
        (State.CLOSED, Severity.CRITICAL, None),
        (State.ACCEPTED_RISK, Severity.CRITICAL, None),
        (State.OPEN, Severity.INFORMATIONAL, None),
    ],
)
def test_deadlines(state, severity, expected):
    assert deadline(state, severity, T0, T0 + 3 * H, T0 + 7 * D) == expected


@pytest.mark.parametrize(
    ("slug", "request_is", "ticket"),
    [
        ("spamhaus-zen", RequestClass.FORM, True),
        ("nordspam-ip", RequestClass.EMAIL, True),
        ("psbl", RequestClass.SELF_SERVICE, True),
        ("s5h", RequestClass.HOST_OPENS_PAGE, True),
        ("spamcop", RequestClass.DO_NOT_FILE, True),
        ("truncate", RequestClass.DO_NOT_FILE, True),
        ("uceprotect-1", RequestClass.WAIT, True),
        ("uceprotect-3", RequestClass.PROVIDER_ONLY, False),
        ("sorbs", RequestClass.TELL_RECEIVER, False),
        ("proofpoint-pdr", RequestClass.FORM, True),
        ("t-online", RequestClass.EMAIL, True),
    ],
)
def test_classes_of_lists(slug, request_is, ticket):
    row = row_of(slug)
    found = request_class(row["request_policy"], row["removal_method"])
    assert found is request_is
    assert opens_ticket(found) is ticket


def test_every_shipped_list_has_a_class_that_never_pays():
    for row in shipped_providers():
        assert request_class(row["request_policy"], row["removal_method"]) in RequestClass


def test_wait_lists_wait_at_once():
    assert first_state(RequestClass.WAIT) is State.WAITING_EXPIRY
    assert first_state(RequestClass.DO_NOT_FILE) is State.WAITING_EXPIRY
    assert first_state(RequestClass.FORM) is State.OPEN


def test_where_to_ask():
    assert (
        mail_address("https://ipcheck.proofpoint.com/ ; follow-up delist-request@proofpoint.com")
        == "delist-request@proofpoint.com"
    )
    assert (
        page_address("https://ipcheck.proofpoint.com/ ; follow-up x@y.example")
        == "https://ipcheck.proofpoint.com/"
    )
    assert mail_address("contact on https://suomispam.net/") == ""


@pytest.mark.parametrize(
    ("request_is", "address", "last", "allowed"),
    [
        (RequestClass.EMAIL, "a@b.example", None, True),
        (RequestClass.EMAIL, "a@b.example", T0 - 8 * D, True),
        (RequestClass.EMAIL, "a@b.example", T0 - 6 * D, False),  # never twice in seven days
        (RequestClass.EMAIL, "", None, False),
        (RequestClass.FORM, "a@b.example", None, False),  # no form is filled by a machine
        (RequestClass.DO_NOT_FILE, "a@b.example", None, False),
        (RequestClass.PROVIDER_ONLY, "a@b.example", None, False),
    ],
)
def test_what_may_be_mailed(request_is, address, last, allowed):
    assert (may_send(request_is, address, last, T0) == "") is allowed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24 hours after the last report", 24 * H), ("2-3 weeks", 21 * D), ("7 days", 7 * D), ("4 weeks", 28 * D),
        ("a couple of days", 3 * D), ("48 hours after the last attack", 48 * H), ("when the node is gone",
        None), ("none known", None), ("", None),
    ],
)  # fmt: skip
def test_expected_end(text, expected):
    assert expected_end(text, T0) == (T0 + expected if expected else None)
