"""Words, icons and tones of what blocklists say, for the pages about them."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from portal.words import CHIPS, Chip

CHIPS.update(
    {
        "listing": {
            "listed": Chip(_("Listed"), "bad", "cross"),
            "not_listed": Chip(_("Not listed"), "good", "check"),
            "unknown": Chip(_("Could not be checked"), "warn", "clock"),
            "ended": Chip(_("No longer listed"), "good", "check"),
        },
        "severity": {
            "critical": Chip(_("Critical"), "bad", "warning"),
            "major": Chip(_("Major"), "bad", "warning"),
            "minor": Chip(_("Minor"), "warn", "info"),
            "informational": Chip(_("For information"), "info", "info"),
        },
        "delisting": {
            "detected": Chip(_("Being checked"), "info", "search"),
            "dropped": Chip(_("Not confirmed"), "", "check"),
            "open": Chip(_("Open"), "warn", "desk"),
            "reopened": Chip(_("Open again"), "bad", "desk"),
            "investigating": Chip(_("Looking for the cause"), "warn", "search"),
            "ready": Chip(_("Cause fixed, request ready"), "info", "check"),
            "requested": Chip(_("Removal requested"), "info", "send"),
            "waiting_expiry": Chip(_("Waits until it expires"), "info", "clock"),
            "waiting_provider": Chip(_("Waits for the network's owner"), "info", "clock"),
            "needs_customer": Chip(_("Needs your answer"), "bad", "user"),
            "rejected": Chip(_("Removal refused"), "bad", "cross"),
            "delisted_pending": Chip(_("Clean once, being confirmed"), "info", "clock"),
            "closed": Chip(_("Closed"), "good", "check"),
            "list_invalid": Chip(_("List is dead or broken"), "", "stop"),
            "accepted_risk": Chip(_("Left alone for now"), "", "pause"),
        },
        "alert": {
            "listed": Chip(_("Listed"), "bad", "cross"),
            "relisted": Chip(_("Listed again"), "bad", "cross"),
            "worse": Chip(_("Got worse"), "bad", "warning"),
            "new_code": Chip(_("Another reason"), "bad", "warning"),
            "still_listed": Chip(_("Still listed"), "warn", "clock"),
            "rejected": Chip(_("Removal refused"), "bad", "cross"),
            "delisted": Chip(_("No longer listed"), "good", "check"),
        },
    }
)
