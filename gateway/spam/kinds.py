"""What kind of spam a mail is, where its symbols tell: a table of evidence, strongest kind wins."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.rules.spam import Symbol
from gateway.spam.features import Features

EVIDENCE: tuple[tuple[str, dict[str, int], int], ...] = (
    ("extortion", {"EXTORTION": 2, "COIN_ADDRESS": 2}, 3),
    (
        "phishing",
        {
            "CREDENTIALS": 2,
            "BRAND_MISMATCH": 2,
            "LINK_TEXT_DIFFERS": 2,
            "ADDRESS_IN_NAME": 1,
            "SHARED_FILE": 1,
            "PARCEL": 2,
            "FORM_IN_MAIL": 1,
            "RISKY_ATTACHMENT": 2,
            "LINK_HOSTING": 1,
            "LINK_TO_ADDRESS": 1,
            "RECIPIENT_NAMED": 1,
            "URGENCY": 1,
        },
        3,
    ),
    (
        "scam",
        {
            "ADVANCE_FEE": 2,
            "LOTTERY": 1,
            "GENERIC_GREETING": 1,
            "MONEY": 1,
            "REPLY_ELSEWHERE": 1,
            "FREEMAIL": 1,
        },
        3,
    ),
    ("adult", {"ADULT": 2}, 2),
    ("pharmacy", {"PILLS": 2}, 2),
    ("sales", {"COLD_SALES": 2, "LOAN": 2, "INVESTMENT": 2, "GAMBLING": 2}, 2),
)
"""(kind, symbol -> weight, least sum); an earlier kind wins a tie."""


BULK = frozenset(("BULK_MAIL", "OFFER", "PICTURES", "IMAGE_ONLY"))
"""Any of these makes mail that is of no kind above a mass mailing."""


def kind_of(features: Features, symbols: Sequence[Symbol]) -> str | None:
    """Kind of a mail that is already held to be suspect; None when nothing tells."""
    present = {name for name, _ in features.structure}
    if any(symbol.name == "GTUBE" for symbol in symbols):
        return "test"
    best, most = None, 0.0
    for kind, weights, least in EVIDENCE:
        found = sum(weight for name, weight in weights.items() if name in present)
        if found >= least and found / least > most:
            best, most = kind, found / least
    return best or ("bulk" if present & BULK else None)
