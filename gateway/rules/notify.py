"""Which outcome the sender is told about (RFC 3461 4.1, 5.2; RFC 5321 6.1). Pure."""

from __future__ import annotations

from enum import StrEnum

from gateway.rules.types import Address, State


class Report(StrEnum):
    """The kinds of mail to the sender."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"

    def fits(self, state: State, reason: str) -> bool:
        """Whether an outcome is of this kind."""
        if state == State.DELIVERED:
            return self is Report.RELAYED and reason == "relayed"
        if state in (State.BOUNCED, State.EXPIRED):
            return self is Report.FAILED
        return self is Report.DELAYED and state in (State.QUEUED, State.HELD)


_KEYWORD = {Report.FAILED: "FAILURE", Report.DELAYED: "DELAY", Report.RELAYED: "SUCCESS"}


def wants_report(report: Report, sender: Address | None, notify: frozenset[str]) -> bool:
    """Never to the null sender, never with NOTIFY=NEVER. Without NOTIFY: failures and delays. A success is
    told by the next hop; only one that knows no DSN leaves the telling ("relayed") to us (RFC 3461 5.2.2)."""
    if sender is None or "NEVER" in notify:
        return False
    return _KEYWORD[report] in (notify or {"FAILURE", "DELAY"})
