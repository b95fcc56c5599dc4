"""A message's octets, for those who may look (the portal asks for consent before it calls this)."""

from __future__ import annotations

from django.conf import settings

from gateway import store
from gateway.models import Body, Message
from gateway.spool import Spool


def read_body(message: Message) -> bytes | None:
    """The message as it was accepted, or None once it was deleted (all recipients settled)."""
    try:
        content, name = store.load_body(message.pk)
    except Body.DoesNotExist:
        return None
    if content is not None:
        return content
    return _from_spool(name)


def _from_spool(name: str) -> bytes | None:
    directory = settings.SMG.spool_dir
    if not name or directory is None:
        return None
    try:
        return Spool(directory).read(name)
    except FileNotFoundError:  # settled between the two looks, or on another node's disk
        return None
