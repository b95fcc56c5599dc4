"""The states of a delisting ticket, who may move it where, and until when something must have happened."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from blacklist.rules.requests import RequestClass
from blacklist.rules.types import Severity


class State(StrEnum):
    DETECTED = "detected"  # a remote reply names the list, our own question is still to come
    DROPPED = "dropped"  # the second question did not confirm it
    OPEN = "open"
    REOPENED = "reopened"  # listed again within 14 days
    INVESTIGATING = "investigating"  # pre-checks ran, cause unknown
    READY = "ready"  # cause fixed, draft complete
    REQUESTED = "requested"
    WAITING_EXPIRY = "waiting_expiry"
    WAITING_PROVIDER = "waiting_provider"
    NEEDS_CUSTOMER = "needs_customer"
    REJECTED = "rejected"
    DELISTED_PENDING = "delisted_pending"  # clean once
    CLOSED = "closed"
    LIST_INVALID = "list_invalid"  # the list is dead or lists the world
    ACCEPTED_RISK = "accepted_risk"  # left alone until a date, with a reason


class TransitionError(ValueError):
    """A move the state machine does not know."""


ENDED = frozenset({State.DROPPED, State.CLOSED, State.LIST_INVALID})
WORKING = frozenset({State.OPEN, State.REOPENED, State.INVESTIGATING, State.READY, State.REJECTED})
WAITING = frozenset({State.REQUESTED, State.WAITING_EXPIRY, State.WAITING_PROVIDER, State.NEEDS_CUSTOMER})
# What a confirmed clean answer, a dead list, or support's decision may do from every living state.
_ALWAYS = frozenset({State.DELISTED_PENDING, State.CLOSED, State.LIST_INVALID, State.ACCEPTED_RISK})
_WORK = frozenset(
    {State.INVESTIGATING, State.READY, State.WAITING_EXPIRY, State.WAITING_PROVIDER, State.NEEDS_CUSTOMER}
)
MOVES: dict[State, frozenset[State]] = {
    State.DETECTED: frozenset({State.OPEN, State.DROPPED, State.WAITING_EXPIRY, State.LIST_INVALID}),
    State.DROPPED: frozenset({State.DETECTED, State.OPEN, State.REOPENED}),
    State.OPEN: _WORK | _ALWAYS,
    State.REOPENED: _WORK | _ALWAYS,
    State.INVESTIGATING: _WORK | _ALWAYS,
    State.READY: frozenset(
        {State.REQUESTED, State.INVESTIGATING, State.WAITING_EXPIRY, State.WAITING_PROVIDER}
    )
    | _ALWAYS,
    State.REQUESTED: frozenset({State.REJECTED, State.INVESTIGATING, State.READY, State.WAITING_EXPIRY})
    | _ALWAYS,
    State.WAITING_EXPIRY: _WORK | _ALWAYS,
    State.WAITING_PROVIDER: _WORK | {State.REJECTED, State.REQUESTED} | _ALWAYS,
    State.NEEDS_CUSTOMER: _WORK | _ALWAYS,
    State.REJECTED: _WORK | _ALWAYS,
    # a listing that came back before the second clean answer goes to where it was: any living state
    State.DELISTED_PENDING: _WORK | {State.OPEN, State.REOPENED, State.REQUESTED} | _ALWAYS,
    State.ACCEPTED_RISK: _WORK | _ALWAYS,
    State.CLOSED: frozenset({State.REOPENED}),
    State.LIST_INVALID: frozenset({State.REOPENED}),
}


def check_move(old: State, new: State) -> None:
    """Raises TransitionError when a ticket cannot go from `old` to `new`."""
    if new not in MOVES[old]:
        raise TransitionError(f"a ticket that is {old.value} cannot become {new.value}")


def first_state(request: RequestClass) -> State:
    """Where a confirmed listing begins: lists that only expire wait at once, everything else is work."""
    return State.WAITING_EXPIRY if request in (RequestClass.WAIT, RequestClass.DO_NOT_FILE) else State.OPEN


_INVESTIGATE = {
    Severity.CRITICAL: timedelta(hours=1),
    Severity.MAJOR: timedelta(days=1),
    Severity.MINOR: timedelta(days=3),
}
_REQUEST = {
    Severity.CRITICAL: timedelta(hours=4),
    Severity.MAJOR: timedelta(days=1),
    Severity.MINOR: timedelta(days=3),
}
_ANSWER = {
    Severity.CRITICAL: timedelta(days=1),
    Severity.MAJOR: timedelta(days=3),
    Severity.MINOR: timedelta(days=7),
}


def deadline(
    state: State, severity: Severity, opened: datetime, since: datetime, expected_end: datetime | None = None
) -> datetime | None:
    """When the ticket must have moved on: work counts from its opening, waiting from the begin of the state.

    None: nobody has to act (ended, accepted, informational).
    """
    if severity not in _INVESTIGATE or state in ENDED:
        return None
    if state in (State.OPEN, State.REOPENED, State.DETECTED):
        return opened + _INVESTIGATE[severity]
    if state in (State.INVESTIGATING, State.READY):
        return opened + _REQUEST[severity]
    if state is State.REJECTED:
        return since + _REQUEST[severity]
    if state is State.WAITING_EXPIRY:
        return expected_end or since + _ANSWER[severity]
    return since + _ANSWER[severity] if state in WAITING else None
