"""AUTH PLAIN (RFC 4616) and AUTH LOGIN, with the rules of RFC 4954."""

from __future__ import annotations

import base64
import binascii

from gateway.rules.types import Reply
from gateway.smtp.connection import Connection
from gateway.smtp.inbox import LineTooLong
from gateway.smtp.lines import MAX_AUTH_BYTES


class _Aborted(Exception):
    """The exchange is over without credentials; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
_UNREADABLE = Reply(501, "5.5.2", "Cannot decode the response")
_TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")


class Authentication(Connection):
    """Who the client is. Only under TLS, whichever way that began."""

    async def smtp_AUTH(self, argument: str) -> None:  # noqa: N802 - aiosmtpd finds commands by name
        out_of_order = self.acceptor.login_out_of_order()
        if out_of_order:
            self.say(out_of_order)
            return
        try:
            identity, username, secret = await self._credentials(argument)
        except _Aborted as aborted:
            self.bad_command(aborted.reply)
            return
        self.deadline.suspend()
        self.say(await self.acceptor.login(identity, username, secret))

    async def _credentials(self, argument: str) -> tuple[str, str, str]:
        """(authorization identity, username, secret)."""
        mechanism, _space, initial = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            return await self._plain(initial)
        if mechanism.upper() == "LOGIN":
            return await self._login(initial)
        raise _Aborted(Reply(504, "5.5.4", "Unrecognized authentication type"))

    async def _plain(self, initial: str) -> tuple[str, str, str]:
        response = _decoded(initial) if initial else await self._challenge("")
        parts = response.split("\0")
        if len(parts) != 3:
            raise _Aborted(_UNREADABLE)
        return parts[0], parts[1], parts[2]

    async def _login(self, initial: str) -> tuple[str, str, str]:
        username = _decoded(initial) if initial else await self._challenge("Username:")
        return "", username, await self._challenge("Password:")

    async def _challenge(self, text: str) -> str:
        self.say(Reply(334, "", base64.b64encode(text.encode()).decode()))
        self.deadline.limit(self.command_timeout_s())
        try:
            line = await self.inbox.line(MAX_AUTH_BYTES)
        except LineTooLong:
            raise _Aborted(_TOO_LONG) from None
        if line == b"*\r\n":
            raise _Aborted(_CANCELLED)
        if not line.endswith(b"\r\n"):
            raise _Aborted(_UNREADABLE)
        return _decoded(line[:-2].decode("latin-1"))


def _decoded(text: str) -> str:
    """One base64 response; '=' is the empty one (RFC 4954, 4)."""
    if text == "=":
        return ""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise _Aborted(_UNREADABLE) from None
