"""Support's desk for blocklists in the admin. One module per area."""

from blacklist.admin import listings, providers, runs, tickets

__all__ = ["listings", "providers", "runs", "tickets"]
