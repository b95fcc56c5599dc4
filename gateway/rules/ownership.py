"""Whether a sender is the customer's: the rule that keeps one tenant from sending in another's name.

Applied to MAIL FROM and to every author header alike (From, Sender, Resent-From, Resent-Sender).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.rules.address import AddressError
from gateway.rules.header_mailboxes import parse_header_mailboxes
from gateway.rules.policy import CredentialPolicy, Snapshot
from gateway.rules.reasons import refuse
from gateway.rules.types import Address, Refused


def check_sender(
    snapshot: Snapshot, customer_id: int, login: CredentialPolicy | None, sender: Address
) -> Refused | None:
    """MAIL FROM must belong to a domain the customer has proven, and to what the login may use."""
    if snapshot.owner_of(sender.domain) != customer_id:
        return refuse("not_owner", {"domain": sender.domain})
    if not allowed_by(login, sender):
        return refuse("not_allowed_sender", {"sender": str(sender)})
    return None


def check_authors(
    snapshot: Snapshot,
    customer_id: int,
    login: CredentialPolicy | None,
    headers: Mapping[str, Sequence[bytes]],
) -> tuple[Refused | None, str]:
    """(refusal or None, the author's address). `headers`: values by lower-case name, 'from' among them.

    Exactly one From with exactly one mailbox; every mailbox of every author header must be the customer's.
    """
    if len(headers.get("from", ())) != 1:
        return refuse("no_from", {"found": len(headers.get("from", ()))}), ""
    author = ""
    for name, values in headers.items():
        for value in values:
            refused, first = _check_header(snapshot, customer_id, login, name, value)
            if refused:
                return refused, author
            author = first if name == "from" else author
    return None, author


def _check_header(
    snapshot: Snapshot, customer_id: int, login: CredentialPolicy | None, name: str, value: bytes
) -> tuple[Refused | None, str]:
    title = name.title()
    try:
        mailboxes = parse_header_mailboxes(value)
    except AddressError as error:
        return refuse("bad_author", {"header": title, "problem": str(error)}, header=title), ""
    if len(mailboxes) != 1:
        reason = "no_from" if name == "from" else "bad_author"
        return refuse(reason, {"header": title, "mailboxes": len(mailboxes)}, header=title), ""
    mailbox = mailboxes[0]
    if snapshot.owner_of(mailbox.domain) != customer_id or not allowed_by(login, mailbox):
        return refuse("from_not_owner", {"header": title, "domain": mailbox.domain}, header=title), ""
    return None, str(mailbox)


def allowed_by(login: CredentialPolicy | None, sender: Address) -> bool:
    """Whether a login's own list, narrower than the customer's domains, allows this sender."""
    if login is None or not login.senders:
        return True
    return str(sender).lower() in login.senders or any(
        sender.domain == entry or sender.domain.endswith("." + entry)
        for entry in login.senders
        if "@" not in entry
    )
