"""Which language a text is in, by its stop words: the gate before the word tables.

The word tables know only languages whose ordinary mail was in the training set. Judged by them, a German invoice
looks like spam because German words were seen in spam alone. So words count only where `trained` says so; all other
mail is judged by structure, links and phrases.
"""
# ruff: noqa: E501  (a table: one entry a row)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

UNKNOWN = "xx"

_STOP_WORDS = {
    "en": "the and of to is that for you it with on are this be have not from your we will as at can but if has an or i in was",
    "de": "der die und den das ist nicht sie mit für auf ein eine im zu dem des von wir ihre ihr ihnen bei auch als oder werden "
    "wird haben sich nach aus wie zum zur über uns unsere bitte",
    "fr": "le les des et est une vous pour dans que pas sur votre nous avec au du qui ce la par sont plus vos aux",
    "es": "el los las y que una por para con del su es se lo como más sus este está nos si al usted",
    "it": "il che di e una per con del della sono non gli nel alla si le dei questo più lo suo tuo vostro",
    "nl": "het een van en is dat voor niet met op zijn uw je wij de te ook bij naar worden deze onze",
    "pt": "o os as e que uma para com não do da em por seu sua se mais dos você ao foi este",
    "pl": "i w nie na się jest to z do że o jak dla po przez oraz od czy",
    "sv": "och att det som en för är på med av inte den till har du vi om ett kan",
    "da": "og at det er en til på med for ikke den af der du vi har som kan",
    "tr": "ve bir bu için ile de da çok en daha ne size siz olarak",
}
_LANGUAGES_OF: dict[bytes, tuple[str, ...]] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.encode().split():
        # A word that English has too says nothing about another language.
        if _LANGUAGES_OF.get(_word + b" ") != ("en",):
            _LANGUAGES_OF[_word + b" "] = (*_LANGUAGES_OF.get(_word + b" ", ()), _language)

_FOREIGN = re.compile("[\u0370-\u1fff\u3040-\ud7ff]")
MAX_FOREIGN_LETTERS = 20
FEW_WORDS = 25
"""Texts this short may have no stop word at all; without a sign of another language they pass as English."""


def language(words: Sequence[bytes], text: str) -> str:
    """ISO 639-1 code, or UNKNOWN: another script, two languages mixed, or none that is known here.

    `en` is what opens the gate, so English must prove itself: one word in twenty or more is an English stop word and
    those of any other language are at most a third as many.
    """
    if not text.isascii() and len(_FOREIGN.findall(text)) > MAX_FOREIGN_LETTERS:
        return UNKNOWN
    hits: dict[str, int] = {}
    for codes, count in Counter(filter(None, map(_LANGUAGES_OF.get, words))).items():
        for code in codes:
            hits[code] = hits.get(code, 0) + count
    english = hits.pop("en", 0)
    other, most = max(sorted(hits.items()), key=lambda pair: pair[1], default=("", 0))
    if most > english:
        return other if most >= 2 else UNKNOWN
    if most * 3 > english:
        return UNKNOWN
    return "en" if english * 20 >= len(words) or (len(words) < FEW_WORDS and not most) else UNKNOWN
