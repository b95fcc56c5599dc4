"""Commands around the mail: HELO, EHLO, STARTTLS, RSET, NOOP, HELP, VRFY, EXPN, QUIT."""

from __future__ import annotations

import re

from gateway.rules.types import Reply
from gateway.smtp.connection import Connection

# A host name, an address literal, or what clients put in their place; it goes into our Received header.
_HELO_NAME = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}\Z")


class Greeting(Connection):
    """Who speaks, over what, and how it ends."""

    async def smtp_HELO(self, argument: str) -> None:  # noqa: N802 - aiosmtpd finds commands by name
        if not self._is_name(argument, "HELO"):
            return
        self.acceptor.hello(argument, extended=False)
        self.say(Reply(250, "", self.config.hostname))

    async def smtp_EHLO(self, argument: str) -> None:  # noqa: N802
        if not self._is_name(argument, "EHLO"):
            return
        self.acceptor.hello(argument, extended=True)
        self.say_lines(250, [self.config.hostname, *self._keywords()])

    def _is_name(self, argument: str, verb: str) -> bool:
        if _HELO_NAME.match(argument):
            return True
        self.bad_command(Reply(501, "5.5.4", f"Syntax: {verb} hostname"))
        return False

    def _keywords(self) -> list[str]:
        under_tls = self.acceptor.session.tls is not None
        return [
            "PIPELINING",
            f"SIZE {self.config.max_message_size_bytes}",
            *(["AUTH PLAIN LOGIN", "REQUIRETLS"] if under_tls else ["STARTTLS"]),
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "DSN",
            "SMTPUTF8",
            "CHUNKING",
        ]

    async def smtp_STARTTLS(self, argument: str) -> None:  # noqa: N802
        if argument:
            self.bad_command(Reply(501, "5.5.4", "STARTTLS takes no argument"))
        elif self.acceptor.session.tls is not None:
            self.bad_command(Reply(503, "5.5.1", "Already under TLS"))
        else:
            self.say(Reply(220, "2.0.0", "Ready to start TLS"))
            self.flush()
            await self.start_tls()

    async def smtp_RSET(self, argument: str) -> None:  # noqa: N802
        if argument:
            self.bad_command(Reply(501, "5.5.4", "RSET takes no argument"))
            return
        self.acceptor.reset()
        self.say(Reply(250, "2.0.0", "Ok"))

    async def smtp_NOOP(self, argument: str) -> None:  # noqa: N802
        self.say(Reply(250, "2.0.0", "Ok"))

    async def smtp_HELP(self, argument: str) -> None:  # noqa: N802
        self.say(Reply(214, "2.0.0", "This is an outbound relay for registered customers; see RFC 5321"))

    async def smtp_VRFY(self, argument: str) -> None:  # noqa: N802
        self.say(Reply(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery"))

    async def smtp_EXPN(self, argument: str) -> None:  # noqa: N802
        self.say(Reply(502, "5.5.1", "EXPN is not supported"))

    async def smtp_QUIT(self, argument: str) -> None:  # noqa: N802
        if argument:
            self.bad_command(Reply(501, "5.5.4", "QUIT takes no argument"))
            return
        self.acceptor.reset()
        self.hang_up(Reply(221, "2.0.0", "Bye"))
