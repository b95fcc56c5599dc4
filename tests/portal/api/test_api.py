"""Tokens, sessions, problems, and each resource's work once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from gateway import crypto
from gateway.control import complaints
from gateway.models import AuditEntry, Credential, Domain, Recipient
from portal import tokens
from portal.access import OPENED_AS
from portal.models import ApiToken, Membership, User, WebhookEndpoint
from tests.gateway.rules.test_arf import FEEDBACK, MESSAGE, report
from tests.portal.api.conftest import World, member, post, schema


def session(user: User) -> APIClient:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    return client


# ---- the document ----------------------------------------------------------------------------------------------


def test_the_schema_is_valid_and_without_warnings(tmp_path: Any) -> None:
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yaml"))


def test_the_schema_says_what_it_must() -> None:
    assert schema()["openapi"].startswith("3.1")
    assert {"token", "session"} <= set(schema()["components"]["securitySchemes"])
    for path, operations in schema()["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), (path, method)
            assert "401" in operation["responses"], (path, method)
            names = [parameter["name"] for parameter in operation.get("parameters", [])]
            assert ("Idempotency-Key" in names) == (method == "post"), (path, method)


def test_the_docs_work_under_the_csp(client: Client, db: None) -> None:
    page = client.get("/api/v1/docs/")
    assert page.status_code == 200
    assert b"<style" not in page.content
    assert not re.search(rb"<script(?![^>]*\bsrc=)", page.content)
    assert not re.search(rb"(src|href)=\"(https?:)?//", page.content)
    assert "default-src 'self'" in page["Content-Security-Policy"]
    script = re.search(rb'<script src="(/api/v1/docs/[^"]+)"', page.content)
    assert script
    assert b"SwaggerUIBundle" in client.get(script[1].decode().replace("&amp;", "&")).content
    assert client.get("/api/v1/schema/").status_code == 200


# ---- who asks --------------------------------------------------------------------------------------------------


def test_a_token_works_and_its_use_is_noted(acme: World, alice: APIClient) -> None:
    assert alice.get("/api/v1/settings/").json()["slug"] == "acme"
    used = ApiToken.objects.latest("id")
    assert (used.last_used_ip, used.last_used_at is not None) == ("127.0.0.1", True)


def test_the_database_does_not_give_tokens_away(acme: World) -> None:
    row, text = tokens.create(acme.customer, acme.owner, name="x", scopes=["read"], actor="test")
    secret = text.rpartition("_")[2]
    assert secret not in str(vars(row))
    assert tokens.recognise(f"smg_{row.prefix}_{row.secret_hash}") is None
    for wrong in (
        "",
        "smg_",
        "smg__",
        f"smg_{row.prefix}_",
        f"smg_{row.prefix}",
        f"xyz_{row.prefix}_{secret}",
        text + "x",
        text.upper(),
    ):
        assert tokens.recognise(wrong) is None, wrong


@pytest.mark.parametrize("ending", ["revoked", "expired", "member left", "user locked"])
def test_dead_tokens_are_dead(ending: str, acme: World, alice: APIClient) -> None:
    token = ApiToken.objects.latest("id")
    if ending == "revoked":
        tokens.revoke(token, actor="test")
    if ending == "expired":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    if ending == "member left":
        Membership.objects.all().delete()
    if ending == "user locked":
        User.objects.update(is_active=False)
    answer = alice.get("/api/v1/settings/")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The token is unknown, expired or revoked."


def test_a_token_never_does_more_than_its_maker_may_today(acme: World, alice: APIClient) -> None:
    Membership.objects.filter(user=acme.owner).update(role="viewer")
    assert post(alice, "suppressions/", {"address": "a@b.example"}).status_code == 403


def test_a_session_needs_the_csrf_token_to_write(acme: World) -> None:
    client = session(acme.owner)
    assert client.get("/api/v1/settings/").status_code == 200
    answer = post(client, "suppressions/", {"address": "a@b.example"})
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_only_people_make_tokens(acme: World, alice: APIClient) -> None:
    body = {"name": "backup", "scopes": ["read"]}
    assert post(alice, "tokens/", body).status_code == 403
    person = APIClient()
    person.force_login(acme.owner)
    made = post(person, "tokens/", body)
    assert made.status_code == 201
    assert tokens.recognise(made.json()["token"])
    assert person.delete(f"/api/v1/tokens/{made.json()['id']}/").status_code == 204
    assert tokens.recognise(made.json()["token"]) is None


def test_support_reads_no_customers_api(acme: World) -> None:
    client = Client()
    client.force_login(User.objects.create_user("sam@smg.example", is_staff=True))
    assert client.get("/api/v1/messages/").status_code == 403
    opened = client.session
    opened[OPENED_AS] = acme.customer.pk
    opened.save()
    assert client.get("/api/v1/messages/").status_code == 403


# ---- problems --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing/", 404),
        ("domains/no-such.example/", 404),
        ("messages/0000000000000/", 404),
        ("credentials/999999999999999999/", 404),
        ("credentials/99999999999999999999999/", 404),
        ("messages/zzzzzzzzzzzzz/", 404),
        ("statistics/?since=yesterday", 400),
        ("refusals/?since=never", 400),
        ("messages/?range=custom&start=2026-02-01&end=2026-01-01", 400),
    ],
)
def test_errors_are_problems(path: str, status: int, alice: APIClient) -> None:
    answer = alice.get(f"/api/v1/{path}")
    body = answer.json()
    assert (answer.status_code, body["status"], answer["Content-Type"]) == (
        status,
        status,
        "application/problem+json",
    )
    assert set(body) >= {"type", "title", "status", "detail"}
    assert ("errors" in body) == (status == 400)


def test_bad_json_and_bad_types_are_problems(alice: APIClient) -> None:
    broken = alice.post("/api/v1/domains/", "{", content_type="application/json")
    assert (broken.status_code, broken["Content-Type"]) == (400, "application/problem+json")
    wrong = alice.post("/api/v1/domains/", "a=b", content_type="application/x-www-form-urlencoded")
    assert (wrong.status_code, wrong["Content-Type"]) == (415, "application/problem+json")
    method = alice.put("/api/v1/domains/", {}, format="json")
    assert (method.status_code, method["Content-Type"]) == (405, "application/problem+json")


def test_a_verbs_refusal_names_the_field(alice: APIClient) -> None:
    answer = post(alice, "domains/", {"name": "not a domain"})
    assert answer.status_code == 400
    assert "not a domain" in answer.json()["errors"]["name"][0]


def test_too_much_is_429(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.api.throttling import Throttle

    monkeypatch.setattr(Throttle, "THROTTLE_RATES", {"api": "3/min"})
    statuses = [alice.get("/api/v1/settings/").status_code for _times in range(4)]
    last = alice.get("/api/v1/settings/")
    assert statuses == [200, 200, 200, 429]
    assert (last["Content-Type"], int(last["Retry-After"]) > 0) == ("application/problem+json", True)


# ---- the work --------------------------------------------------------------------------------------------------


def test_writes_are_audited_with_person_and_token(acme: World, alice: APIClient) -> None:
    post(alice, "domains/", {"name": "New.Example"})
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor, entry.target) == (
        "domain.add",
        "alice@acme.example (API: test)",
        "new.example",
    )
    assert Domain.objects.filter(name="new.example", customer=acme.customer).exists()


def test_a_login_from_its_making_to_its_end(acme: World, alice: APIClient) -> None:
    made = post(
        alice,
        "credentials/",
        {"username": "acme-mail", "senders": ["acme.example"], "networks": ["192.0.2.0/24"]},
    ).json()
    url = f"credentials/{made['id']}/"
    changed = alice.patch(f"/api/v1/{url}", {"label": "the web shop"}, format="json").json()
    assert (changed["label"], "secret" in changed) == ("the web shop", False)
    rotated = post(alice, f"{url}rotate/", {"overlap_h": 1}).json()
    row = Credential.objects.get(pk=made["id"])
    assert crypto.secret_matches(rotated["secret"], row.secret_hash, crypto.credential_key_from_settings())
    assert post(alice, f"{url}revoke/").json()["block"] == "revoked"
    assert post(alice, f"{url}rotate/").status_code == 400


def test_settings_take_what_is_the_customers_and_nothing_else(acme: World, alice: APIClient) -> None:
    answer = alice.patch(
        "/api/v1/settings/",
        {"language": "de", "rate_limit": None, "slug": "hacked", "suspended_at": None},
        format="json",
    )
    acme.customer.refresh_from_db()
    assert (answer.status_code, acme.customer.language, acme.customer.slug) == (200, "de", "acme")
    assert alice.patch("/api/v1/settings/", {"language": "tlh"}, format="json").status_code == 400


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [("hold", "queued", "held"), ("release", "held", "queued"), ("cancel", "queued", "cancelled")],
)
def test_mail_that_waits(verb: str, before: str, after: str, acme: World, alice: APIClient) -> None:
    Recipient.objects.update(state=before)
    answer = post(alice, f"messages/{acme.ids['messages']}/{verb}/")
    assert answer.json() == {"changed": 1}
    assert Recipient.objects.get().state == after
    assert post(alice, f"messages/{acme.ids['messages'].upper()}/{verb}/").json() == {"changed": 0}


def test_a_message_shows_its_story(acme: World, alice: APIClient) -> None:
    body = alice.get(f"/api/v1/messages/{acme.ids['messages']}/").json()
    assert (body["subject"], body["symbols"]) == ("subject of acme", [{"name": "LOTTERY", "share": 50.0}])
    assert (
        [row["recipient"] for row in body["attempts"]]
        == [body["recipients"][0]["id"]]
        == [acme.ids["recipients"]]
    )


def test_a_message_tells_its_own_complaints(acme: World, globex: World, alice: APIClient) -> None:
    for world in (acme, globex):
        reported = MESSAGE.replace(b"0amq7j7wr0000", world.ids["messages"].encode())
        complaints.record(
            report(FEEDBACK, reported.replace(b"acme.example", f"{world.customer.slug}.example".encode()))
        )
    (told,) = alice.get(f"/api/v1/messages/{acme.ids['messages']}/").json()["complaints"]
    kept = acme.customer.complaints.get()
    assert told == {
        "at": kept.at.isoformat().replace("+00:00", "Z"),
        "kind": "abuse",
        "recipient": "dora@provider.example",
        "reporter": "fbl@provider.example",
    }
    assert globex.customer.complaints.exists()


def test_messages_are_paged(acme: World, alice: APIClient) -> None:
    from tests.portal.api.conftest import _mail

    _mail(acme, "acme")
    _mail(acme, "acme")
    seen: list[str] = []
    url: str | None = "/api/v1/messages/?limit=2&status=open"
    while url:
        page = alice.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 3
    assert seen == sorted(seen, reverse=True)


def test_lists_are_paged_by_cursor(alice: APIClient) -> None:
    for number in range(5):
        post(alice, "suppressions/", {"address": f"a{number}@b.example"})
    first = alice.get("/api/v1/suppressions/?limit=4").json()
    second = alice.get(first["next"]).json()
    assert (len(first["results"]), len(second["results"]), second["next"]) == (4, 2, None)
    assert len(alice.get("/api/v1/suppressions/?limit=100000").json()["results"]) == 6
    assert alice.get("/api/v1/suppressions/?cursor=rubbish").status_code == 400


def test_statistics(acme: World, alice: APIClient) -> None:
    for by, key in (
        ("domain", "acme.example"),
        ("day", str(timezone.now().date())),
        ("hour", str(timezone.now().date())),
    ):
        results = alice.get(f"/api/v1/statistics/?by={by}").json()["results"]
        assert len(results) == 1
        assert results[0]["key"].startswith(key)
        assert (results[0]["accepted"], results[0]["delivered"]) == (3, 2)


def test_webhooks(acme: World, alice: APIClient) -> None:
    bad = post(alice, "webhooks/", {"url": "https://10.0.0.1/"})
    assert (bad.status_code, list(bad.json()["errors"])) == (400, ["url"])
    made = post(alice, "webhooks/", {"url": "https://hook.example/", "events": ["message.failed"]}).json()
    assert made["secret"].startswith("whsec_")
    url = f"webhooks/{made['id']}/"
    sent = post(alice, f"{url}test/")
    assert (sent.status_code, sent.json()["state"]) == (202, "pending")
    assert post(alice, f"{url}disable/").json()["active"] is False
    assert post(alice, f"{url}test/").status_code == 400
    assert post(alice, f"{url}enable/").json()["active"] is True
    assert alice.delete(f"/api/v1/{url}").status_code == 204
    assert WebhookEndpoint.objects.filter(customer=acme.customer).count() == 1


def test_support_requests_and_consent(acme: World, alice: APIClient) -> None:
    made = post(
        alice,
        "support-requests/",
        {"subject": "Lost mail", "text": "Where is it?", "message": acme.ids["messages"]},
    ).json()
    assert (made["state"], [said["text"] for said in made["replies"]]) == ("open", ["Where is it?"])
    assert (
        len(post(alice, f"support-requests/{made['id']}/reply/", {"text": "Found it."}).json()["replies"])
        == 2
    )
    assert post(alice, f"support-requests/{made['id']}/close/").json()["state"] == "closed"
    grant = post(alice, "content-grants/", {"hours": 2, "message": acme.ids["messages"]}).json()
    assert (grant["valid"], grant["kind"]) == (True, "customer")
    alice.delete(f"/api/v1/content-grants/{grant['id']}/")
    assert alice.get(f"/api/v1/content-grants/{grant['id']}/").json()["valid"] is False


def test_an_admin_writes_too(acme: World, token_client: Callable[..., APIClient]) -> None:
    ann = token_client(acme, member(acme, "ann", "admin"))
    assert post(ann, "suppressions/", {"address": "a@b.example"}).status_code == 201


def test_no_list_counts_or_needs_many_queries(acme: World, alice: APIClient) -> None:
    from django.test.utils import CaptureQueriesContext

    alice.get("/api/v1/settings/")  # takes the block of requests that the following count against
    for path in (
        "messages",
        "recipients",
        "refusals",
        "ndr-reports",
        "audit",
        "alerts",
        "tickets",
        "support-requests",
    ):
        with CaptureQueriesContext(connection) as queries:
            alice.get(f"/api/v1/{path}/")
        assert len(queries) <= 10, path
        assert not [one for one in queries if "COUNT(*)" in one["sql"]], path


def test_a_tls_test_runs_in_the_background(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.tls.preflight import PreflightReport, Verdict
    from portal import tls_tests

    report = PreflightReport("bank.example", timezone.now(), verdicts={"verify": Verdict("works")})
    monkeypatch.setattr(tls_tests, "preflight_now", lambda *_args, **_options: report)
    begun = post(alice, "tls-tests/", {"recipient_domain": ".Bank.Example"})
    assert (begun.status_code, begun.json()["status"], begun.json()["report"]) == (202, "running", None)
    tls_tests.run(begun.json()["id"])
    done = alice.get(f"/api/v1/tls-tests/{begun.json()['id']}/").json()
    assert (done["status"], done["report"]["verdicts"]) == (
        "done",
        {"verify": {"state": "works", "text": ""}},
    )
    assert post(alice, "tls-tests/", {"recipient_domain": "no domain"}).status_code == 400
    statuses = {post(alice, "tls-tests/", {"recipient_domain": "b.example"}).status_code for _ in range(10)}
    assert 429 in statuses


def test_explain_is_the_relays_own_answer(
    acme: World, alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gateway.explain

    seen: list[Any] = []

    def fake(raw: bytes, **envelope: Any) -> dict[str, Any]:
        seen.append((raw, envelope))
        return {"accepted": True, "reply": "250", "trace": [], "limit": {}}

    monkeypatch.setattr(gateway.explain, "explain", fake)
    body = {"credential": "ACME-web", "sender": "a@acme.example", "recipients": ["b@x.example"]}
    assert post(alice, "explain/", {**body, "message": "Subject: x\n\nhi"}).json()["accepted"]
    assert post(alice, "explain/", {**body, "message_base64": "aGk="}).status_code == 200
    assert [raw for raw, _envelope in seen] == [b"Subject: x\n\nhi", b"hi"]
    assert post(alice, "explain/", {**body, "message_base64": "?"}).status_code == 400
    assert post(alice, "explain/", body).status_code == 400


def test_only_owners_change_the_team(
    acme: World, alice: APIClient, token_client: Callable[..., APIClient]
) -> None:
    bob = member(acme, "bob", "viewer")
    seat = bob.memberships.get()
    ann = token_client(acme, member(acme, "ann", "admin"))
    assert ann.patch(f"/api/v1/team/{seat.pk}/", {"role": "owner"}, format="json").status_code == 403
    assert post(ann, "team/", {"email": "new@acme.example", "role": "owner"}).status_code == 403
    assert alice.patch(f"/api/v1/team/{seat.pk}/", {"role": "admin"}, format="json").json()["role"] == "admin"
    assert alice.delete(f"/api/v1/team/{seat.pk}/").status_code == 204
    invited = post(alice, "team/", {"email": "new@acme.example", "role": "viewer"})
    assert (invited.status_code, invited.json()["email"]) == (202, "new@acme.example")
    last = alice.delete(f"/api/v1/team/{acme.ids['team']}/")
    assert (last.status_code, alice.get("/api/v1/settings/").status_code) == (400, 200)


@pytest.mark.parametrize(
    "path", ["recipients/?limit=2", "recipients/?limit=2&state=queued", "webhook-deliveries/?limit=2"]
)
def test_every_list_is_paged_without_loss(path: str, acme: World, globex: World, alice: APIClient) -> None:
    from portal.webhooks import endpoints
    from tests.portal.api.conftest import _mail

    for _times in range(4):
        _mail(acme, "acme")
        endpoints.send_test(acme.customer.webhooks.get(), actor="test")
    seen: list[str] = []
    url: str | None = f"/api/v1/{path}"
    while url:
        page = alice.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 5
    if "recipients" in path:
        assert seen == sorted(seen, reverse=True)
