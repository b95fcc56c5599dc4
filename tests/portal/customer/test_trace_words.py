"""What was unusual about a login, in words on the message's page."""

from __future__ import annotations

from django.utils import translation

from portal.customer.trace_words import trace_lines

ENTRY = {
    "step": "behaviour",
    "outcome": "info",
    "detail": {"burst": [1250, 20], "networks": [0.8, 0.0]},
    "ms": 0,
}


def test_unusual_traffic_in_words() -> None:
    (line,) = trace_lines([ENTRY])
    assert (line.title, line.outcome) == ("Unusual for this login", "info")
    assert line.sentence == (
        "1,250 recipients within an hour (usual: 20);"
        " 80% of the messages come from networks that this login never used before."
    )
    with translation.override("de"):
        assert trace_lines([ENTRY])[0].sentence.startswith(
            "1.250 Empfänger innerhalb einer Stunde (sonst: 20); 80%"
        )
