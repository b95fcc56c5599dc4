"""When people hear of a listing."""

from datetime import UTC, datetime, timedelta

import pytest

from blacklist.rules.episodes import (
    AlertKind,
    Delivery,
    Episode,
    alert_for_hit,
    clean_runs_needed,
    delivery_of,
    is_muted,
    is_relisting,
    joins_incident,
)
from blacklist.rules.types import Severity

T0 = datetime(2026, 3, 1, 4, tzinfo=UTC)
CRITICAL, MAJOR, MINOR, INFO = Severity.CRITICAL, Severity.MAJOR, Severity.MINOR, Severity.INFORMATIONAL


def episode(severity=MAJOR, labels=("spam",), *, told=True, reminded=False):
    return Episode(T0, severity, frozenset(labels), T0 if told else None, reminded=reminded)


@pytest.mark.parametrize(
    ("before", "severity", "labels", "days", "relisted", "expected"),
    [
        (None, MAJOR, {"spam"}, 0, False, AlertKind.LISTED),
        (None, MAJOR, {"spam"}, 0, True, AlertKind.RELISTED),
        (None, INFO, {"x"}, 0, False, None),
        (episode(), MAJOR, {"spam"}, 1, False, None),  # one alert per episode
        (episode(), CRITICAL, {"spam"}, 1, False, AlertKind.WORSE),
        (episode(), MINOR, {"spam"}, 1, False, None),  # better is no news
        (episode(), MAJOR, {"spam", "exploit"}, 1, False, AlertKind.NEW_CODE),
        (episode(labels=("spam", "exploit")), MAJOR, {"spam"}, 1, False, None),
        (episode(), MAJOR, {"spam"}, 2.9, False, None),
        (episode(), MAJOR, {"spam"}, 3, False, AlertKind.STILL_LISTED),
        (episode(CRITICAL), CRITICAL, {"spam"}, 3, False, AlertKind.STILL_LISTED),
        (episode(MINOR), MINOR, {"spam"}, 6.9, False, None),
        (episode(MINOR), MINOR, {"spam"}, 7, False, AlertKind.STILL_LISTED),
        (episode(reminded=True), MAJOR, {"spam"}, 9, False, None),  # said once
        (
            episode(INFO, told=False),
            MAJOR,
            {"spam"},
            1,
            False,
            AlertKind.LISTED,
        ),  # it was nobody's business until now
    ],
)
def test_alerts_for_a_hit(before, severity, labels, days, relisted, expected):
    now = T0 + timedelta(days=days)
    assert alert_for_hit(before, severity, frozenset(labels), now, relisted=relisted) is expected


def test_small_lists_must_be_clean_twice():
    assert [clean_runs_needed(severity) for severity in (CRITICAL, MAJOR, MINOR)] == [1, 1, 2]


def test_a_return_within_two_weeks_is_the_same_story():
    assert is_relisting(T0, T0 + timedelta(days=14))
    assert not is_relisting(T0, T0 + timedelta(days=14, seconds=1))
    assert not is_relisting(None, T0)


def test_a_day_makes_an_incident():
    assert joins_incident(T0, T0 + timedelta(hours=24))
    assert not joins_incident(T0, T0 + timedelta(hours=24, seconds=1))


@pytest.mark.parametrize(
    ("kind", "severity", "way"),
    [
        (AlertKind.LISTED, CRITICAL, Delivery.AT_ONCE),
        (AlertKind.DELISTED, CRITICAL, Delivery.BUNDLED),
        (AlertKind.LISTED, MAJOR, Delivery.BUNDLED),
        (AlertKind.LISTED, MINOR, Delivery.DAILY),
        (AlertKind.LISTED, INFO, Delivery.PORTAL),
    ],
)
def test_ways(kind, severity, way):
    assert delivery_of(kind, severity) is way


def test_nobody_can_mute_a_critical_listing():
    later = T0 + timedelta(days=1)
    assert is_muted(MAJOR, later, T0)
    assert not is_muted(MAJOR, T0, later)
    assert not is_muted(MAJOR, None, T0)
    assert not is_muted(CRITICAL, later, T0)
