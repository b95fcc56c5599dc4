"""Intentions told by words that stand close together, in English and German.

A concept is a set of words; a rule is one concept, or two within a distance. Written down by hand from common
knowledge about fraud, they hold for kinds of mail that no training set has, and cost one look-up a word.
"""
# ruff: noqa: E501  (a table: one entry a row)

from __future__ import annotations

from collections.abc import Sequence

CONCEPTS: dict[str, str] = {
    "confirm": "verify verifying confirm confirming validate validating update updating restore reactivate unlock re-activate "
    "bestätigen bestätigung verifizieren verifizierung aktualisieren aktualisierung freischalten überprüfen",
    "account": "account accounts mailbox e-mailbox identity billing ownership login webmail apple-id wallet konto kontos "
    "kundenkonto benutzerkonto postfach zugang identität onlinezugang karte kontodaten zahlungsdaten kundendaten",
    "password": "password passwords passcode passwort kennwort tan photo-tan phototan pushtan",
    "expiry": "expire expires expired expiration expiring abgelaufen ablaufen läuft ablauf verfällt",
    "quota": "quota storage full exceeded exceed speicherplatz voll",
    "blocked": "suspended suspend suspension limited restricted restriction locked deactivated deactivate deactivation disabled "
    "terminated termination blocked compromised hold gesperrt gesperrte sperrung eingeschränkt deaktiviert blockiert",
    "unusual": "unusual unauthorized unauthorised suspicious unrecognized ungewöhnliche ungewöhnlichen verdächtige unbefugte",
    "activity": "activity access sign-in signin login transaction attempt aktivität aktivitäten anmeldung zugriff transaktion",
    "document": "document documents file files fax voicemail voice invoice dokument dokumente datei sprachnachricht",
    "shared": "shared review secure encrypted sign view open freigegeben geteilt unterzeichnen ansehen",
    "parcel": "package parcel shipment delivery courier paket sendung lieferung zustellung dhl ups fedex usps dpd",
    "undelivered": "pending customs fee unpaid redeliver redelivery failed attempt unable zollgebühr zollgebühren zoll gebühr "
    "gebühren zurückgehalten angehalten fehlgeschlagen",
    "hours": "hours hrs stunden #2",
    "urgent": "immediately urgent urgently asap immediate now warning deadline umgehend sofort sofortige dringend mahnung letzte final",
    "act": "action respond reply act attention response handlung handeln reagieren antworten avoid vermeiden",
    "click": "click clicking klicken klick klicke",
    "here": "here below link button following hier unten",
    "fortune": "kin beneficiary beneficiaries inheritance inherited unclaimed dormant deceased erbschaft nachlass begünstigter",
    "million": "million millions millionen mio",
    "money": "dollars usd euros euro pounds gbp fund funds us$ dollar sum $ € £",
    "transfer": "transfer transferred transferring überweisung",
    "trust": "confidential confidentiality utmost secrecy vertraulich diskretion",
    "dear": "dear greetings hello lieber liebe sehr",
    "friend": "friend beloved sir madam beneficiary winner customer user valued sir/madam freund kunde nutzer kundin client member",
    "person": "barrister attorney prince princess engr widow sgt diplomat solicitor",
    "africa": "nigeria ghana benin burkina togo ivory lagos cotonou abuja africa ouagadougou congo",
    "payout": "compensation grant donation donate donating atm moneygram lottery",
    "western": "western",
    "union": "union",
    "won": "won winner winning prize lucky jackpot congratulations reward gewonnen gewinner gewinn glückwunsch gewinnspiel",
    "giftcard": "giftcard geschenkkarte gutscheinkarte",
    "gift": "gift",
    "card": "card cards",
    "record": "recorded recording video webcam camera footage aufgenommen aufnahme kamera",
    "shame": "masturbating masturbate porn pornographic intimate pleasuring pornos intimen adult",
    "coin": "bitcoin btc ethereum usdt crypto wallet kryptowährung bitcoins",
    "invest": "invest investment investments investors investor profit profits trading forex roi dividends investition rendite",
    "home": "home",
    "work": "work earn earning income verdienen einkommen",
    "passive": "passive weekly daily extra guaranteed residual passives",
    "loan": "loan loans mortgage refinance refinancing debt debts lender kredit darlehen sofortkredit",
    "rate": "rate rates interest apply approved approval low zins zinsen zinssatz",
    "pills": "viagra cialis levitra xanax valium phentermine pharmacy pharmacies pills penis erection erectile keto cbd "
    "potenzmittel testosterone libido",
    "weight": "weight fat pounds abnehmen kilo",
    "lose": "lose loss burn diet verlieren",
    "adult": "xxx porn sexy nude horny hottest milf sluts erotic erotik singles hookup escort nackt girls teens",
    "casino": "casino poker roulette blackjack spins betting freispiele",
    "seo": "seo backlinks backlink serp suchmaschinenoptimierung",
    "ranking": "ranking rankings traffic google visibility optimization optimisation",
    "increase": "increase boost improve skyrocket top",
    "list": "list lists database leads attendees attendee contacts",
    "buyers": "verified decision makers makers, prospects executives attendees opt-in emails users counts acquiring",
    "maker": "manufacturer manufacturers supplier suppliers factory exporter wholesale oem moq hersteller",
    "we": "we our products product china shenzhen ltd quality prices price",
    "followup": "reaching circling touching following touch",
    "interested": "interested demo call schedule quick",
    "discount": "% discount off sale rabatt bargain coupon gutschein save spare sparen",
    "offer": "offer offers deal deals exclusive special limited free angebot angebote gratis kostenlos kostenlose",
    "buy": "buy order purchase shop kaufen bestellen sichern",
    "guarantee": "guarantee guaranteed risk-free risk obligation satisfaction money-back garantie unverbindlich",
    "replica": "replica replicas rolex watches cheap oem software",
    "unsubscribe": "unsubscribe unsubscribed opt-out optout abbestellen abmelden austragen abmeldung",
    "remove": "remove removed removal",
    "mailing": "mailing list lists mailings database newsletter mailings",
    "notspam": "spam s.1618 unsolicited can-spam",
    "imprint": "impressum datenschutz geschäftsführer handelsregister amtsgericht hrb ust-id ustid steuernummer",
    "reference": "rechnungsnummer bestellnummer kundennummer auftragsnummer vorgangsnummer invoice order ticket booking",
    "payment": "outstanding overdue remittance proforma swift rfq quotation slip tt offene",
    "kindly": "kindly",
    "advise": "find check review confirm advise send revert attached",
    "desk": "desk available task favour favor gefallen",
    "reply-me": "whatsapp telegram wechat skype viber",
}

RULES: tuple[tuple[str, str, str, str, int], ...] = (
    ("CREDENTIALS", "confirm-account", "confirm", "account", 6),
    ("CREDENTIALS", "confirm-password", "confirm", "password", 5),
    ("CREDENTIALS", "password-expires", "password", "expiry", 6),
    ("CREDENTIALS", "account-quota", "account", "quota", 6),
    ("CREDENTIALS", "account-blocked", "account", "blocked", 7),
    ("CREDENTIALS", "unusual-activity", "unusual", "activity", 4),
    ("SHARED_FILE", "shared-document", "document", "shared", 5),
    ("PARCEL", "undelivered", "parcel", "undelivered", 8),
    ("URGENCY", "act-now", "urgent", "act", 5),
    ("URGENCY", "hours", "hours", "act", 12),
    ("URGENCY", "click-here", "click", "here", 4),
    ("ADVANCE_FEE", "fortune", "fortune", "", 0),
    ("ADVANCE_FEE", "millions", "million", "money", 5),
    ("ADVANCE_FEE", "transfer", "transfer", "money", 5),
    ("ADVANCE_FEE", "trust", "trust", "", 0),
    ("ADVANCE_FEE", "person", "person", "", 0),
    ("ADVANCE_FEE", "africa", "africa", "", 0),
    ("ADVANCE_FEE", "payout", "payout", "money", 10),
    ("ADVANCE_FEE", "western-union", "western", "union", 1),
    ("GENERIC_GREETING", "dear-friend", "dear", "friend", 2),
    ("LOTTERY", "won", "won", "", 0),
    ("LOTTERY", "gift-card", "gift", "card", 1),
    ("LOTTERY", "geschenkkarte", "giftcard", "", 0),
    ("EXTORTION", "video", "record", "shame", 15),
    ("EXTORTION", "shame-coin", "shame", "coin", 150),
    ("INVESTMENT", "coin", "coin", "", 0),
    ("INVESTMENT", "invest", "invest", "", 0),
    ("INVESTMENT", "home", "work", "home", 3),
    ("INVESTMENT", "passive", "passive", "work", 3),
    ("LOAN", "loan", "loan", "", 0),
    ("LOAN", "loan-rate", "loan", "rate", 8),
    ("PILLS", "pills", "pills", "", 0),
    ("PILLS", "weight", "lose", "weight", 4),
    ("ADULT", "adult", "adult", "", 0),
    ("GAMBLING", "casino", "casino", "", 0),
    ("COLD_SALES", "seo", "seo", "", 0),
    ("COLD_SALES", "ranking", "increase", "ranking", 5),
    ("COLD_SALES", "lists", "list", "buyers", 6),
    ("COLD_SALES", "factory", "maker", "we", 8),
    ("COLD_SALES", "follow-up", "followup", "interested", 25),
    ("OFFER", "discount", "discount", "offer", 8),
    ("OFFER", "buy-offer", "buy", "offer", 8),
    ("OFFER", "guarantee", "guarantee", "", 0),
    ("OFFER", "replica", "replica", "buy", 20),
    ("BULK_MAIL", "unsubscribe", "unsubscribe", "", 0),
    ("BULK_MAIL", "remove", "remove", "mailing", 8),
    ("BULK_MAIL", "not-spam", "notspam", "", 0),
    ("BUSINESS", "imprint", "imprint", "", 0),
    ("BUSINESS", "reference", "reference", "", 0),
    ("PAYMENT_REQUEST", "payment", "payment", "", 0),
    ("PAYMENT_REQUEST", "kindly", "kindly", "advise", 4),
    ("PAYMENT_REQUEST", "desk", "desk", "urgent", 15),
    ("COLD_SALES", "messenger", "reply-me", "", 0),
)

_CONCEPTS_OF: dict[bytes, tuple[str, ...]] = {}
for _concept, _words in CONCEPTS.items():
    for _word in _words.encode().split():
        _CONCEPTS_OF[_word + b" "] = (*_CONCEPTS_OF.get(_word + b" ", ()), _concept)


def phrases_in(words: Sequence[bytes]) -> list[tuple[str, str]]:
    """(symbol, token) of every rule that the words fulfil; `words` as `words_of` gives them, in their order."""
    places = _places_of_concepts(words)
    return [
        (symbol, token)
        for symbol, token, first, second, distance in RULES
        if first in places
        and (not second or (second in places and _near(places[first], places[second], distance)))
    ]


def _places_of_concepts(words: Sequence[bytes]) -> dict[str, list[int]]:
    """Concept -> where its words stand, ascending."""
    of_words: dict[bytes, list[int]] = {}
    for place, word in enumerate(words):
        if word in _CONCEPTS_OF:
            of_words.setdefault(word, []).append(place)
    places: dict[str, list[int]] = {}
    for word, found in of_words.items():
        for concept in _CONCEPTS_OF[word]:
            places[concept] = sorted(places[concept] + found) if concept in places else found
    return places


def _near(firsts: list[int], seconds: list[int], distance: int) -> bool:
    """True when a place of each lies within `distance`; both lists are ascending, so one pass finds it."""
    at = 0
    for first in firsts:
        while at < len(seconds) and seconds[at] < first - distance:
            at += 1
        if at < len(seconds) and seconds[at] <= first + distance and seconds[at] != first:
            return True
    return False
