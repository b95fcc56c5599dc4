"""Every page of the customer's portal with what each of the cast may do there; test_matrix plays them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.utils import timezone

from gateway.control import credentials, dkim
from gateway.models import Domain
from portal import tls_tests
from portal.models import Invitation, Membership
from portal.team import hash_token
from tests import factories
from tests.factories import Cast

TOKEN = "a-token-of-an-invitation"


@dataclass
class World:
    """ACME's things, one of each, and what is listed `many` times."""

    cast: Cast
    ids: dict[str, Any] = field(default_factory=dict)


def make_world(cast: Cast, many: int = 2) -> World:
    world = World(cast)
    acme = cast.acme
    gateway = factories.make_gateway("mta01")
    domain = factories.make_domain(acme, "acme.example")
    login = factories.make_credential(acme, "acme-web")
    messages = [
        factories.make_message(acme, to=(f"dora{n}@example.org", "erik@example.org"), credential=login)
        for n in range(many)
    ]
    for message in messages:
        for recipient in message.recipients.all():
            factories.make_attempt(recipient, gateway=gateway)
    stolen = factories.make_credential(acme, "acme-shop")
    credentials.blow_fuse(stolen, reason="many", signals={"bad": [0.6, 0.01]})
    for _ in range(many):
        factories.make_message(acme, state="held", credential=stolen, recipient={"reason": "abuse"})
    waiting = factories.make_message(acme, state="queued", subject="Waiting")
    spam = factories.make_message(acme, category="spam", score=90, symbols=[["WORDING", 60], ["SUBJECT", 30]])
    ndrs = [factories.make_ndr(message, gateway=gateway) for message in messages]
    refusals = [factories.make_refusal(acme, credential=login) for _ in range(many)]
    for hours in range(5):
        factories.make_hour(
            acme, timezone.now() - timedelta(hours=hours), accepted=3, recipients=6, delivered=6
        )
    world.ids = {
        "message": waiting.text_id, "spam": spam.text_id, "refusal": refusals[0].pk, "ndr": ndrs[0].pk,
        "suppression": factories.make_suppression(acme).pk, "domain": domain.name, "login": login.pk,
        "held_login": stolen.pk,
        "rule": factories.make_tls_rule(acme).pk, "key": make_key(domain),
        "test": tls_tests.start(acme, "bank.example").pk,
        "member": Membership.objects.get(user=cast.bob).pk, "invitation": make_invitation(cast).pk, "token": TOKEN,
    }  # fmt: skip
    factories.make_worker()
    return world


def make_key(domain: Domain) -> int:
    return dkim.request(domain, actor="alice@acme.example").pk


def make_invitation(cast: Cast) -> Invitation:
    return Invitation.objects.create(
        customer=cast.acme, email="new@acme.example", role="viewer", token_hash=hash_token(TOKEN), invited_by="alice",
        expires_at=timezone.now() + timedelta(days=7),
    )  # fmt: skip


@dataclass(frozen=True)
class Page:
    """`get` / `post`: who may: 'all' members, 'writers' (owner, admin), 'owners', 'public', '' = the method is not
    taken. `own`: the name in World.ids of the object in the address. `data`: of a POST that works."""

    name: str
    get: str = "all"
    post: str = ""
    own: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    bad: Any = None  # an id of the right form that does not exist


NEVER = 999_999_999
NO_MESSAGE = "0000000000000"
PAGES = (
    Page("overview"),
    Page("choose_customer", get="", post="other", data={"customer": "1"}),
    Page("close_customer", get="", post="all"),
    Page("messages"),
    Page("message_news"),
    Page("message_csv"),
    Page("message", own="message", bad=NO_MESSAGE),
    Page("message_retry", get="", post="writers", own="message", bad=NO_MESSAGE),
    Page("message_release", get="", post="writers", own="message", bad=NO_MESSAGE),
    Page("message_cancel", get="writers", post="writers", own="message", bad=NO_MESSAGE),
    Page("message_appeal", get="", post="writers", own="spam", bad=NO_MESSAGE, data={"comment": "A newsletter"}),
    Page("refusals"),
    Page("refusal", own="refusal", bad=NEVER),
    Page("statistics"),
    Page("statistics_csv"),
    Page("explain", post="all"),
    Page("ndr"),
    Page("ndr_csv"),
    Page("ndr_detail", own="ndr", bad=NEVER),
    Page("suppressions", post="writers", data={"address": "gone2@example.org"}),
    Page("suppression_remove", get="", post="writers", own="suppression", bad=NEVER),
    Page("domains"),
    Page("domain_add", get="writers", post="writers", data={"name": "new.example"}),
    Page("dkim_revoke", get="writers", post="writers", own="key", bad=NEVER),
    Page("domain", own="domain", bad="nobody.example"),
    Page("domain_check", get="", post="all", own="domain", bad="nobody.example"),
    Page("domain_remove", get="writers", post="writers", own="domain", bad="nobody.example"),
    Page("dkim_request", get="writers", post="writers", own="domain", bad="nobody.example", data={"kind": "txt"}),
    Page("tls"),
    Page("tls_add", get="writers", post="writers", data={"recipient_domain": "not a domain"}),
    Page("tls_test", post="all", data={"domain": "not a domain"}),
    Page("tls_test_result", own="test", bad=NEVER),
    Page("tls_change", get="writers", post="writers", own="rule", bad=NEVER, data={"recipient_domain": "not a domain"}),
    Page("tls_probe", get="", post="writers", own="rule", bad=NEVER),
    Page("tls_remove", get="writers", post="writers", own="rule", bad=NEVER),
    Page("access"),
    Page("credential_add", get="writers", post="writers", data={"username": "acme-new"}),
    Page("credential", post="writers", own="login", bad=NEVER, data={"label": "The shop"}),
    Page("credential_rotate", get="", post="writers", own="login", bad=NEVER, data={"overlap_h": "24"}),
    Page("credential_revoke", get="writers", post="writers", own="login", bad=NEVER),
    Page("credential_release", get="", post="writers", own="login", bad=NEVER),
    Page("credential_held", own="held_login", bad=NEVER),
    Page("credential_held_release", get="writers", post="writers", own="held_login", bad=NEVER),
    Page("credential_held_delete", get="writers", post="writers", own="held_login", bad=NEVER),
    Page("setup"),
    Page("setup_live"),
    Page("settings", post="writers", data={"language": "de", "delay_warning_h": "4"}),
    Page("settings_person", get="", post="all", data={"me-language": "de", "me-time_zone": "UTC", "me-theme": "dark"}),
    Page("settings_rate"),
    Page("security"),
    Page("team"),
    Page("team_invite", get="", post="owners", data={"email": "eve@acme.example", "role": "viewer"}),
    Page("team_withdraw", get="", post="owners", own="invitation", bad=NEVER),
    Page("member", get="owners", post="owners", own="member", bad=NEVER, data={"role": "admin"}),
    Page("member_remove", get="", post="owners", own="member", bad=NEVER),
    Page("invitation", get="public", post="public", own="token", bad="nonsense"),
    Page("activity"),
    Page("activity_csv"),
    Page("help"),
    Page("help_codes"),
    Page("help_image", get="image"),
    Page("help_page", get="manual"),
    Page("mail_catcher", get="demo"),
    Page("mail_caught", get="demo"),
    Page("mail_caught_raw", get="demo"),
)  # fmt: skip

AnyClient = Callable[[Any], Any]
