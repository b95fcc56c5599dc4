"""The operator's settings: every wrong value stops the start with a sentence that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, Endpoint, parse_endpoint
from gateway.rules.behaviour import Limits
from gateway.rules.spam import Thresholds
from gateway.spam.judge import setup_of

BASE = Path("/srv/smg")


def config(**env: str) -> Config:
    return Config.from_env({f"SMG_{name}": value for name, value in env.items()}, BASE)


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("SMTP_LISTEN", "", "smtp_listen", (Endpoint("127.0.0.1", 2525),)),
        ("SMTP_LISTEN", "0.0.0.0:25,[::]:25", "smtp_listen", (Endpoint("0.0.0.0", 25), Endpoint("::", 25))),
        (
            "CLAMD",
            "unix:/run/clamd.ctl, tcp:127.0.0.1:3310",
            "clamd",
            (Endpoint(path="/run/clamd.ctl"), Endpoint("127.0.0.1", 3310)),
        ),
        ("SPAMD", "localhost", "spamd", Endpoint("localhost", 783)),
        ("QUEUE_LIFETIME", "5d", "queue_lifetime_s", 432_000),
        ("QUEUE_LIFETIME", "90", "queue_lifetime_s", 90),
        ("RETRY_SCHEDULE", "1, 2,3", "retry_schedule_s", (1, 2, 3)),
        ("DEMO", "on", "demo", True),
        ("HOSTNAME", "mx.smg.example", "spf_host", "spf.mx.smg.example"),
        ("SPAM_THRESHOLDS", "30, 60", "spam_thresholds", Thresholds(30, 60)),
        ("SPAM_WEIGHTS", "rspamd=2", "spam_weights", {"rspamd": 2.0}),
        ("FUSE_LEAST", "", "fuse", Limits()),
        ("FUSE_LEAST", "80", "fuse", Limits(min_recipients=80)),
        ("FUSE_BAD", "10,15", "fuse", Limits(bad_messages=10, bad_share=0.15)),
        ("FUSE_UNKNOWN", "30, 100", "fuse", Limits(unknown_recipients=30, unknown_share=1.0)),
        ("FUSE_FLOOD", "5000,40", "fuse", Limits(flood_recipients=5000, flood_times=40.0)),
        ("FUSE_BURST", "500,8", "fuse", Limits(burst_recipients=500, burst_times=8.0)),
        ("VAR_DIR", "", "spool_dir", BASE / "var" / "spool"),
    ],
)
def test_values(name: str, value: str, attribute: str, expected: Any) -> None:
    assert getattr(config(**{name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_LISTEN", "0.0.0.0:smtp"), ("SMTP_LISTEN", ":25"), ("RELAY_PROCESSES", "0"), ("RELAY_PROCESSES", "two"),
        ("QUEUE_LIFETIME", "soon"), ("QUEUE_LIFETIME", "0"), ("RETRY_SCHEDULE", "60,-1"), ("DEMO", "perhaps"),
        ("PRIVATE_MX_NETWORKS", "10.0.0.0/33"), ("SPAM_THRESHOLDS", "75,40"), ("SPAM_THRESHOLDS", "40"),
        ("SPAM_COMBINATION", "median"), ("SPAM_WEIGHTS", "rspamd=much"), ("FUSE_LEAST", "0"),
        ("FUSE_BAD", "20"), ("FUSE_BAD", "20,101"), ("FUSE_BAD", "20,0"), ("FUSE_UNKNOWN", "x,20"),
        ("FUSE_FLOOD", "2000,-1"), ("FUSE_BURST", "1,2,3"), ("SPAM_WEIGHTS", "other=1"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"SMG_{name}"):
        config(**{name: value})


def test_with_another_database_bodies_stay_in_it_unless_a_spool_is_named() -> None:
    env = {"DATABASE_URL": "postgres://smg@db/smg"}
    assert Config.from_env(env, BASE).spool_dir is None
    assert Config.from_env({**env, "SMG_SPOOL_DIR": "/srv/spool"}, BASE).spool_dir == Path("/srv/spool")


def test_the_operator_chooses_how_opinions_are_joined() -> None:
    setup = setup_of(
        config(RSPAMD="http://127.0.0.1:11333", SPAM_COMBINATION="mean", SPAM_WEIGHTS="rspamd=3")
    )
    assert (setup.rspamd, setup.combination.how) == ("http://127.0.0.1:11333", "mean")
    assert (setup.combination.weight("rspamd"), setup.combination.weight("embedded")) == (3.0, 1.0)


@given(st.text(max_size=60))
def test_any_endpoint_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_endpoint(text, 25)
    except ConfigError:
        return
    assert found.path or (found.host and 0 <= found.port < 65536)
