"""How talking to a next hop fails."""

from __future__ import annotations

from gateway.rules.types import Reply, Stage


class HopFailed(Exception):
    """This host, at this address, cannot take the message now. `reply` is the host's own or one that we made up."""

    def __init__(self, reply: Reply, stage: Stage, reason: str = "") -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.stage = stage
        self.reason = reason  # a word of rules.replies.REASONS; '' = classify the reply


class TlsFailed(HopFailed):
    """Encryption could not be had as demanded. `result` is the result type of RFC 8460 section 4.3; `lasting` is false
    for what may be different in a minute (a time-out, 454)."""

    def __init__(self, reply: Reply, stage: Stage, result: str, *, lasting: bool = True) -> None:
        super().__init__(reply, stage, "tls")
        self.result = result
        self.lasting = lasting


class ConnectionLost(HopFailed):
    """The peer hung up, or the connection broke."""


class GarbageReceived(HopFailed):
    """The peer's octets are not SMTP, or too many."""


class TimedOut(HopFailed):
    """The peer did not answer within the stage's deadline."""
