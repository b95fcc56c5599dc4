"""The customer's and support's pages: works, colleague, stranger, viewer, wrong method, bad id;
nothing of a stranger's."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from blacklist.control import desk, runs
from blacklist.models import Alert, CheckRun, DelistingTicket, Listing, Mute
from tests.blacklist.lab import add_list
from tests.factories import make_attempt, make_domain, make_gateway, make_message, make_recipient

pytestmark = pytest.mark.django_db
EVIL = '<script>alert("x")</script>'


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()


@pytest.fixture
def cast(db):
    from tests.factories import make_cast

    return make_cast()


@pytest.fixture
def world(cast, lab, watch):
    """ACME's domain and our gateway are listed; Globex is clean."""
    add_list(lab, "zen", severity="critical")
    add_list(lab, "dbl", kind="domain")
    add_list(lab, "flaky", kind="domain")
    make_gateway("mta01", source_ip="192.0.2.10", hostname="mta01")
    make_gateway("mta02", source_ip="192.0.2.11", hostname="mta02")
    make_domain(cast.acme, "acme.example")
    make_domain(cast.globex, "globex.example")
    lab.put("dbl.lab", "acme.example", "127.0.1.2", text=EVIL)
    lab.put("zen.lab", "192.0.2.10")
    lab.ways["flaky.lab"] = "silent"
    runs.start("daily", actor="system", options=lab.options())
    return cast


def login(user) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def of_acme() -> Listing:
    return Listing.objects.get(target__value="acme.example")


def pages():
    listing = of_acme()
    return {
        "blacklists": reverse("blacklists"), "listing": reverse("listing", args=[listing.pk]),
        "alerts": reverse("alerts"),
        "tickets": reverse("tickets"), "ticket": reverse("ticket", args=[listing.ticket.pk]),
    }  # fmt: skip


def test_everybody_of_acme_reads_everything(world):
    for user in (world.alice, world.bob):
        for name, url in pages().items():
            response = login(user).get(url)
            assert response.status_code == 200, name
            text = response.content.decode()
            assert EVIL not in text
            assert "None" not in text.replace("None of your", ""), name


def test_the_matrix_says_what_is_known_and_what_is_not(world):
    text = login(world.alice).get(reverse("blacklists")).content.decode()
    assert "acme.example" in text
    assert "globex.example" not in text
    assert "1 listed, 0 clean, 1 not known" in text
    assert "192.0.2.10" in text  # our gateway, which carries ACME's mail
    assert text.count("Could not be checked") >= 2
    assert "no answer" in text


def test_a_search_without_a_match_says_so_and_can_be_changed(world):
    text = login(world.alice).get(reverse("blacklists"), {"q": "nowhere"}).content.decode()
    assert "Nothing matches." in text
    assert 'value="nowhere"' in text
    assert "Nothing was asked yet" not in text
    assert "acme.example" in text  # what is listed is not searched


def test_the_latest_changes_are_those_of_the_latest_month(world):
    """Beginnings and ends, newest first: an old listing that ended just now is one change, not two."""
    now = timezone.now()
    old, other = of_acme(), Listing.objects.get(target__value="192.0.2.10")
    old.first_seen, old.delisted_at = now - timedelta(days=60), now
    other.first_seen, other.delisted_at = now - timedelta(days=3), now - timedelta(days=2)
    for listing in (old, other):
        listing.save(update_fields=["first_seen", "delisted_at"])
    changes = login(world.alice).get(reverse("blacklists")).context["changes"]
    assert [(change["listing"].pk, change["state"]) for change in changes] == [
        (old.pk, "ended"), (other.pk, "ended"), (other.pk, "listed"),
    ]  # fmt: skip


def test_strangers_get_404_and_the_logged_out_the_door(world):
    charlie = login(world.charlie)
    listing = of_acme()
    assert charlie.get(reverse("listing", args=[listing.pk])).status_code == 404
    assert charlie.get(reverse("ticket", args=[listing.ticket.pk])).status_code == 404
    assert (
        charlie.post(
            reverse("listing_mute", args=[listing.pk]), {"reason": "x", "until": "2030-01-01"}
        ).status_code
        == 404
    )
    assert charlie.post(reverse("ticket", args=[listing.ticket.pk]), {"text": "x"}).status_code == 404
    alert = Alert.objects.get(listing=listing)
    assert charlie.post(reverse("alert_acknowledge", args=[alert.pk])).status_code == 404
    assert "acme.example" not in charlie.get(reverse("alerts")).content.decode()
    for url in pages().values():
        assert Client().get(url).status_code == 302


def test_a_gateways_listing_is_everybodys_but_its_ticket_is_not(world):
    listing = Listing.objects.get(target__value="192.0.2.10")
    charlie = login(world.charlie)
    response = charlie.get(reverse("listing", args=[listing.pk]))
    assert "Nothing is wrong on your side" in response.content.decode()
    assert "taken the address out of use" in response.content.decode()
    assert charlie.get(reverse("ticket", args=[listing.ticket.pk])).status_code == 404


def test_viewers_change_nothing(world):
    bob = login(world.bob)
    listing = of_acme()
    alert = Alert.objects.get(listing=listing)
    for url in (
        reverse("blacklist_check"), reverse("listing_mute", args=[listing.pk]), reverse("alert_acknowledge",
        args=[alert.pk]),
        reverse("ticket", args=[listing.ticket.pk]),
    ):  # fmt: skip
        assert bob.post(url, {"text": "x", "reason": "x", "until": "2030-01-01"}).status_code == 403, url


@pytest.mark.parametrize(
    ("name", "method"),
    [("blacklists", "post"), ("alerts", "post"), ("tickets", "post"), ("blacklist_check", "get")],
)
def test_wrong_methods(world, name, method):
    assert getattr(login(world.alice), method)(reverse(name)).status_code == 405


@pytest.mark.parametrize(
    "url",
    ["/blacklists/999999/", "/blacklists/99999999999999999999999/", "/tickets/99999999999999999999999/"],
)
def test_bad_ids(world, url):
    assert login(world.alice).get(url).status_code == 404


@pytest.mark.parametrize(
    "query",
    ["?page=abc", "?page=-1", "?page=99999", "?q=%00", "?q=" + "x" * 500, "?before=abc", "?state=%27"],
)
def test_nonsense_in_the_address_is_harmless(world, query):
    for name in ("blacklists", "alerts", "tickets"):
        assert login(world.alice).get(reverse(name) + query).status_code == 200


def test_alice_acknowledges_mutes_and_answers(world):
    alice, listing = login(world.alice), of_acme()
    alert = Alert.objects.get(listing=listing)
    assert alice.post(reverse("alert_acknowledge", args=[alert.pk])).status_code == 302
    alert.refresh_from_db()
    assert alert.acknowledged_by == "alice@acme.example"
    url = reverse("listing_mute", args=[listing.pk])
    assert alice.post(url, {"reason": "", "until": ""}).status_code == 400
    assert alice.post(url, {"reason": "known", "until": "2001-01-01"}).status_code == 400
    until = (timezone.now() + timezone.timedelta(days=20)).date().isoformat()
    assert alice.post(url, {"reason": "known", "until": until}).status_code == 302
    assert Mute.objects.get().created_by == "alice@acme.example"
    assert (
        "Muted by alice@acme.example: known"
        in alice.get(reverse("listing", args=[listing.pk])).content.decode()
    )
    assert alice.post(url, {"end": "1"}).status_code == 302
    assert not Mute.objects.exists()
    ticket = listing.ticket
    desk.ask_customer(ticket, text="What was it?", actor="sam@smg.example")
    page = reverse("ticket", args=[ticket.pk])
    assert "What was it?" in alice.get(page).content.decode()
    assert alice.post(page, {"text": " "}).status_code == 400
    assert alice.post(page, {"text": "A hacked form, fixed."}).status_code == 302
    ticket.refresh_from_db()
    assert ticket.state == "investigating"


def test_internal_comments_stay_internal(world):
    ticket = of_acme().ticket
    desk.comment(ticket, text="the customer is difficult", actor="sam@smg.example", public=False)
    for url in pages().values():
        assert "difficult" not in login(world.alice).get(url).content.decode()


def test_the_listing_shows_only_ones_own_mail(world):
    listing = Listing.objects.get(target__value="192.0.2.10")
    for customer in (world.acme, world.globex):
        message = make_message(customer, recipient={"gateway": listing.target.gateway})
        recipient = make_recipient(message, "x@example.net")
        make_attempt(
            recipient, gateway=listing.target.gateway, code=550, text=f"{customer.slug} blocked using zen.lab"
        )
    text = login(world.alice).get(reverse("listing", args=[listing.pk])).content.decode()
    assert "acme blocked using zen.lab" in text
    assert "globex blocked" not in text
    assert "1 of your recipients" in text


def test_check_now_is_queued_once_in_ten_minutes(world, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "blacklist.control.schedules.check_customer_soon", lambda pk, who: asked.append((pk, who))
    )
    alice = login(world.alice)
    for _ in range(3):
        assert alice.post(reverse("blacklist_check")).status_code == 302
    assert asked == [(world.acme.pk, "alice@acme.example")]


def test_the_pages_in_german(world):
    world.alice.language = "de"
    world.alice.save()
    text = login(world.alice).get(reverse("blacklists")).content.decode()
    assert "Sperrlisten" in text
    assert "nicht geprüft werden" in text or "Nicht prüfbar" in text


def test_an_empty_portal_says_what_comes(cast):
    for name in ("blacklists", "alerts", "tickets"):
        assert 'class="empty"' in login(cast.alice).get(reverse(name)).content.decode()


# ------------------------------------------------------------------------------------------------- support


def test_before_the_first_run_proven_domains_are_not_asked_for_again(cast):
    make_domain(cast.acme, "acme.example")
    page = login(cast.alice).get("/blacklists/").content.decode()
    assert "The first check is at 05:00" in page
    assert "Add a domain first" not in page


def test_runs_are_for_support(world):
    run = CheckRun.objects.get()
    for url in (
        reverse("blacklist_runs"),
        reverse("blacklist_run", args=[run.pk]),
        reverse("blacklist_run_progress", args=[run.pk]),
    ):
        assert login(world.alice).get(url).status_code == 403
        assert Client().get(url).status_code == 302
    sam = login(world.sam)
    assert "system" in sam.get(reverse("blacklist_runs")).content.decode()
    text = sam.get(reverse("blacklist_run", args=[run.pk])).content.decode()
    assert "flaky" in text
    assert "every 3s" not in text  # it is over: nothing to poll
    assert sam.get(reverse("blacklist_run_progress", args=[run.pk])).status_code == 286
    assert sam.get(reverse("blacklist_run", args=[10**30])).status_code == 404


def test_a_running_check_shows_its_progress(world):
    run = CheckRun.objects.create(kind="daily", started_at=timezone.now(), total=200, done=50)
    sam = login(world.sam)
    assert "every 3s" in sam.get(reverse("blacklist_run", args=[run.pk])).content.decode()
    response = sam.get(reverse("blacklist_run_progress", args=[run.pk]))
    assert response.status_code == 200
    assert "50 / 200 (25 %)" in response.content.decode()


def test_run_now(world, monkeypatch):
    from blacklist.control.lease import hold_lease

    started = []
    monkeypatch.setattr("blacklist.control.schedules.run_soon", started.append)
    sam = login(world.sam)
    with hold_lease():
        sam.post(reverse("blacklist_runs"))
    assert started == []
    sam.post(reverse("blacklist_runs"))
    assert started == ["sam@smg.example"]


# ------------------------------------------------------------------------------------------------- admin


def act(client, pk, action, **fields):
    """An admin action as a browser does it: the button, then (where it asks) the form."""
    url = reverse("admin:blacklist_delistingticket_changelist")
    data = {"action": action, "_selected_action": pk, "index": 0}
    return client.post(url, data | ({"apply": "1", **fields} if fields else {}), follow=True)


ADMIN_PAGES = [
    "delistingticket",
    "listing",
    "incident",
    "alert",
    "provider",
    "target",
    "checkrun",
    "mute",
    "blacklistsettings",
]


@pytest.mark.parametrize("model", ADMIN_PAGES)
def test_every_admin_list_and_object_opens_for_support_alone(world, model):
    from django.apps import apps

    sam = login(world.sam)
    url = reverse(f"admin:blacklist_{model}_changelist")
    response = sam.get(url)
    assert response.status_code == 200
    assert EVIL not in response.content.decode()
    assert login(world.alice).get(url).status_code == 302
    for obj in apps.get_model("blacklist", model).objects.all()[:3]:
        text = sam.get(reverse(f"admin:blacklist_{model}_change", args=[obj.pk])).content.decode()
        assert EVIL not in text


def test_sam_handles_a_listing_in_the_admin(world, lab):
    ticket = of_acme().ticket
    sam = login(world.sam)
    act(sam, ticket.pk, "take")
    ticket.refresh_from_db()
    assert (ticket.state, ticket.assigned_to) == ("investigating", "sam@smg.example")
    assert "Cause in one sentence" in act(sam, ticket.pk, "confirm_cause").content.decode()
    act(
        sam,
        ticket.pk,
        "confirm_cause",
        cause="website",
        cause_text="",
        action_text="the site was cleaned",
        fixed_at="",
    )
    ticket.refresh_from_db()
    assert ticket.state == "ready"
    text = act(sam, ticket.pk, "send_request", yes="1").content.decode()
    assert "no requests by e-mail" in text
    act(sam, ticket.pk, "mark_submitted", reference="case 7", at="")
    ticket.refresh_from_db()
    assert (ticket.state, ticket.request_ref) == ("requested", "case 7")
    act(sam, ticket.pk, "comment", text="We asked the list.", public="on")
    assert (
        "We asked the list." in login(world.alice).get(reverse("ticket", args=[ticket.pk])).content.decode()
    )
    page = sam.get(reverse("admin:blacklist_delistingticket_change", args=[ticket.pk])).content.decode()
    assert "the site was cleaned" in page
    assert "requested" in page
    act(sam, ticket.pk, "close", reason="done")
    ticket.refresh_from_db()
    assert ticket.state == "closed"


def test_filters_by_state_deadline_list_and_target(world):
    sam = login(world.sam)
    url = reverse("admin:blacklist_delistingticket_changelist")
    DelistingTicket.objects.filter(listing__target__value="acme.example").update(
        next_action_at=timezone.now() - timezone.timedelta(hours=1)
    )
    over = sam.get(url + "?deadline=over").content.decode()
    assert "acme.example" in over
    assert "192.0.2.10" not in over
    assert "192.0.2.10" in sam.get(url + "?deadline=today").content.decode()
    assert "acme.example" in sam.get(url + "?q=acme").content.decode()
    assert (
        "acme.example"
        not in sam.get(url + "?listing__severity=critical").content.decode().split("result_list")[1]
    )
    desk.close(of_acme().ticket, reason="x", actor="sam@smg.example")
    assert "acme.example" not in sam.get(url).content.decode().split("action-checkbox")[-1]
    assert "acme.example" in sam.get(url + "?life=ended").content.decode()


def test_a_key_goes_in_and_never_comes_out(world):
    from blacklist.models import Provider

    sam = login(world.sam)
    keyed = Provider.objects.create(
        slug="keyed", name="Keyed", zone="{key}.keyed.lab", kind="ip4", needs_key=True
    )
    url = reverse("admin:blacklist_provider_changelist")
    sam.post(
        url, {"action": "set_key", "_selected_action": keyed.pk, "index": 0, "apply": "1", "key": "TOPSECRET"}
    )
    keyed.refresh_from_db()
    assert keyed.spec().zone == "topsecret.keyed.lab"
    sam.post(url, {"action": "switch_on", "_selected_action": keyed.pk, "index": 0})
    keyed.refresh_from_db()
    assert keyed.enabled
    for page in (
        url,
        reverse("admin:blacklist_provider_change", args=[keyed.pk]),
        reverse("admin:gateway_auditentry_changelist"),
    ):
        text = sam.get(page).content.decode()
        assert "TOPSECRET" not in text
        assert keyed.key_encrypted not in text


def test_a_dead_list_cannot_be_added_in_the_admin(world):
    from blacklist.models import Provider

    sam = login(world.sam)
    fields = {
        "slug": "zombie", "name": "Zombie", "zone": "dul.sorbs.net", "kind": "ip4", "known": "active",
        "enabled": "on", "severity": "major",
        "answer_mode": "codes", "code_rows": "[]",
    }  # fmt: skip
    response = sam.post(reverse("admin:blacklist_provider_add"), fields)
    assert "This list is dead" in response.content.decode()
    assert not Provider.objects.filter(slug="zombie").exists()
    sam.post(reverse("admin:blacklist_provider_add"), fields | {"slug": "own", "zone": "bl.own.example"})
    assert Provider.objects.get(slug="own").enabled


def test_targets_are_added_and_asked_in_the_admin(world, monkeypatch):
    from blacklist.models import Target

    asked = []
    monkeypatch.setattr("django_q.tasks.async_task", lambda *args: asked.append(args))
    sam = login(world.sam)
    add = reverse("admin:blacklist_target_add")
    assert (
        "neither an IP address"
        in sam.post(add, {"value": "nonsense", "role": "customer_ip"}).content.decode()
    )
    sam.post(
        add, {"value": "Müller.example", "role": "domain", "customers": [world.acme.pk], "is_active": "on"}
    )
    target = Target.objects.get(value="xn--mller-kva.example")
    assert list(target.customers.all()) == [world.acme]
    sam.post(
        reverse("admin:blacklist_target_changelist"),
        {"action": "check_now", "_selected_action": target.pk, "index": 0},
    )
    assert asked == [("blacklist.control.schedules.check_target", target.pk, "sam@smg.example")]


def test_settings_of_support(world):
    from blacklist.models import BlacklistSettings

    sam = login(world.sam)
    sam.get(reverse("admin:blacklist_blacklistsettings_changelist"))
    url = reverse("admin:blacklist_blacklistsettings_change", args=[1])
    sam.post(
        url,
        {
            "operator": "Example Ltd",
            "contact_mail": "abuse@smg.example",
            "phone": "",
            "hoster_mail": "",
            "hoster_language": "de",
        },
    )
    settings = BlacklistSettings.load()
    assert (settings.auto_drain, settings.operator, settings.hoster_language) == (False, "Example Ltd", "de")
