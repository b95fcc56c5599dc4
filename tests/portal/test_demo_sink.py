"""The demo's gateways follow a changed SMG_DEMO_SINK; a gateway that somebody pointed elsewhere stays there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from gateway.config import Endpoint
from gateway.models import Gateway
from portal.demo.cast import make_gateway

pytestmark = pytest.mark.django_db


def test_gateways_follow_the_sink(tmp_path: Path, monkeypatch: Any) -> None:
    def sink_at(port: int) -> None:
        config = replace(settings.SMG, demo=True, var_dir=tmp_path, demo_sink=Endpoint("127.0.0.1", port))
        monkeypatch.setattr(settings, "SMG", config)

    sink_at(2626)
    make_gateway("mta01", "good")
    make_gateway("mta02", "good")
    Gateway.objects.filter(name="mta02").update(next_hop="mx.partner.example:25")
    (tmp_path / "demo.json").write_text(json.dumps({"sink": "127.0.0.1:2626", "secret": "kept"}))

    sink_at(2700)
    call_command("demo_setup", sink_only=True)
    assert dict(Gateway.objects.values_list("name", "next_hop")) == {
        "mta01": "127.0.0.1:2700",
        "mta02": "mx.partner.example:25",
    }
    assert json.loads((tmp_path / "demo.json").read_text()) == {"sink": "127.0.0.1:2700", "secret": "kept"}
