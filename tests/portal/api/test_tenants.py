"""Two customers over every path and method: what is the other's is 404, absent in lists, unnamed in errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.urls import URLPattern
from rest_framework.test import APIClient

from portal.api.urls import router
from portal.api.urls import urlpatterns as api_patterns
from tests.portal.api.conftest import World, member, schema

Operation = tuple[str, str]  # path template, method
DRY = ("/api/v1/explain/", "/api/v1/tls-tests/")  # POSTs that change nothing


def operations() -> Iterator[Operation]:
    for path, methods in schema()["paths"].items():
        for method in methods:
            yield path, method


def with_id() -> list[Operation]:
    return [(path, method) for path, method in operations() if "{" in path]


def resource(path: str) -> str:
    return path.removeprefix("/api/v1/").split("/")[0]


def filled(path: str, world: World) -> str:
    head, _, tail = path.partition("{")
    return head + world.ids[resource(path)] + tail.partition("}")[2]


def call(client: APIClient, method: str, url: str, body: Any = None) -> Any:
    return (
        getattr(client, method)(url, data=json.dumps(body or {}), content_type="application/json")
        if method != "get"
        else client.get(url)
    )


def test_the_schema_knows_every_address_of_the_api() -> None:
    """So that the tests below, made from the schema, cover what the URL conf really serves."""
    served = [
        (str(pattern.pattern), method)
        for pattern in api_patterns
        if isinstance(pattern, URLPattern) and pattern.callback.cls.__module__ != "portal.api.docs"
        for method in methods_of(pattern)
    ]
    assert len(served) == len(list(operations())) > 80
    assert {prefix for prefix, _view, _name in router.registry} <= {
        resource(path) for path, _ in operations()
    }


def methods_of(pattern: URLPattern) -> list[str]:
    view = pattern.callback
    known = ("get", "post", "put", "patch", "delete")
    return [name for name in known if name in (getattr(view, "actions", None) or dir(view.cls))]


@pytest.mark.parametrize(("path", "method"), with_id())
def test_the_others_object_is_404(
    path: str, method: str, acme: World, globex: World, alice: APIClient
) -> None:
    if resource(path) == "tokens":  # for a token it is 403, whoever they belong to
        alice = APIClient()
        alice.force_login(acme.owner)
    answer = call(alice, method, filled(path, globex), {"role": "viewer", "text": "hello", "comment": "x"})
    assert answer.status_code == 404, (path, method, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "There is no such object, or it is not yours."
    assert not [word for word in globex.secrets if word in answer.content.decode()]


@pytest.mark.parametrize("path", [path for path, method in with_id() if method == "get"])
def test_the_own_object_is_found(path: str, acme: World, alice: APIClient) -> None:
    answer = alice.get(filled(path, acme))
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize(
    "path", [path for path, method in operations() if method == "get" and "{" not in path]
)
@pytest.mark.parametrize(
    "query",
    ["", "?customer=2&customer_id=2&tenant=globex", "?ordering=customer__name&search=globex&limit=200"],
)
def test_lists_hold_the_own_only(path: str, query: str, acme: World, globex: World, alice: APIClient) -> None:
    answer = alice.get(path + query)
    assert answer.status_code == 200, answer.content
    text = answer.content.decode()
    assert "globex" not in text.replace("globex&", "").replace("tenant=globex", "").replace(
        "search=globex", ""
    ), text
    if "results" in answer.json() and resource(path) in acme.ids:
        assert answer.json()["results"], path


FOREIGN_BODIES: list[tuple[str, Callable[[World], Any]]] = [
    ("/api/v1/dkim-keys/", lambda other: {"domain": other.ids["domains"]}),
    (
        "/api/v1/support-requests/",
        lambda other: {"subject": "s", "text": "t", "message": other.ids["messages"]},
    ),
    ("/api/v1/content-grants/", lambda other: {"hours": 1, "message": other.ids["messages"]}),
]


@pytest.mark.parametrize(("path", "body"), FOREIGN_BODIES)
def test_the_others_object_in_a_body_is_404(
    path: str, body: Callable[[World], Any], acme: World, globex: World, alice: APIClient
) -> None:
    assert call(alice, "post", path, body(globex)).status_code == 404


FOREIGN_REFUSED: list[tuple[str, Any]] = [
    ("/api/v1/tls-rules/", {"recipient_domain": "x.example", "sender_domain": "globex.example"}),
    ("/api/v1/credentials/", {"username": "new", "senders": ["a@globex.example"]}),
    (
        "/api/v1/explain/",
        {
            "credential": "globex-web",
            "sender": "a@acme.example",
            "recipients": ["b@x.example"],
            "message": "x",
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), FOREIGN_REFUSED)
def test_the_others_names_in_a_body_are_refused(
    path: str, body: Any, acme: World, globex: World, alice: APIClient
) -> None:
    assert call(alice, "post", path, body).status_code == 400


def test_filters_on_the_others_objects_find_nothing(acme: World, globex: World, alice: APIClient) -> None:
    assert alice.get(f"/api/v1/recipients/?message={globex.ids['messages']}").json()["results"] == []
    assert alice.get(f"/api/v1/webhook-deliveries/?webhook={globex.ids['webhooks']}").json()["results"] == []
    assert alice.get(f"/api/v1/messages/?id={globex.ids['messages']}").json()["results"] == []
    assert alice.get("/api/v1/messages/?sender=globex@globex.example").json()["results"] == []


def test_secrets_are_never_in_a_list(acme: World, alice: APIClient) -> None:
    for path, method in operations():
        if method == "get":
            text = alice.get(filled(path, acme) if "{" in path else path).content.decode()
            assert "whsec_" not in text
            assert not [secret for secret in acme.secrets if secret.startswith("smg_") and secret in text]
            assert "secret_hash" not in text
            assert "internal note" not in text


# ---- roles -----------------------------------------------------------------------------------------------------


def writes() -> list[Operation]:
    return [(path, method) for path, method in operations() if method != "get" and path not in DRY]


@pytest.mark.parametrize(("path", "method"), writes())
def test_viewers_and_read_tokens_only_read(
    path: str, method: str, acme: World, alice: APIClient, token_client: Callable[..., APIClient]
) -> None:
    url = filled(path, acme) if "{" in path else path
    bob = token_client(acme, member(acme, "bob", "viewer"))
    reader = token_client(acme, scopes=("read",))
    for client in (bob, reader):
        answer = call(client, method, url)
        assert answer.status_code == 403, answer.content
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "method"), list(operations()))
def test_nobody_else_gets_in(path: str, method: str, acme: World, globex: World) -> None:
    url = filled(path, acme) if "{" in path else path
    anonymous = call(APIClient(), method, url)
    assert anonymous.status_code == 401, anonymous.content
    assert anonymous["WWW-Authenticate"].startswith("Bearer")
    wrong = APIClient()
    wrong.credentials(HTTP_AUTHORIZATION="Bearer smg_0123456789_wrong")
    assert call(wrong, method, url).status_code == 401
