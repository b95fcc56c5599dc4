"""The admin pages of the relay: Django's own, so that they work under the strict CSP. One module per area."""

from gateway.admin import audit, customers, dkim, judging, mail, ways

__all__ = ["audit", "customers", "dkim", "judging", "mail", "ways"]
