"""The reasons a score can have, in words a customer understands.

Names are the stable vocabulary of reports, rules and stored vectors: append, never reorder or rename (a stored vector
holds positions in NAMES).
"""
# ruff: noqa: E501  (a table: one symbol a row)

from __future__ import annotations

from typing import NamedTuple


class Description(NamedTuple):
    """What a symbol says, English and German."""

    en: str
    de: str


SYMBOLS: dict[str, Description] = {
    "BASE": Description("An ordinary mail, and what weighs too little to name", "Eine übliche Mail, und was zu wenig wiegt, um genannt zu werden"),
    "GTUBE": Description("Contains the standard test text for spam filters (GTUBE)", "Enthält den genormten Testtext für Spamfilter (GTUBE)"),
    "WORDING": Description("Words of the text, compared with known spam and known ordinary mail", "Wortwahl des Textes, verglichen mit bekanntem Spam und bekannten üblichen Mails"),
    "SUBJECT_WORDING": Description("Words of the subject, compared with known spam and ordinary mail", "Wortwahl des Betreffs, verglichen mit bekanntem Spam und üblichen Mails"),
    "LOCAL_LEARNING": Description("What this gateway learned from decisions about earlier mail", "Was dieses Gateway aus Entscheidungen über frühere Mails gelernt hat"),
    "MAIL_PROGRAM": Description("Habits of the program that wrote the mail", "Gewohnheiten des Programms, das die Mail erzeugt hat"),
    "MESSAGE_ID": Description("Form of the Message-ID and whether its domain is the sender's", "Form der Message-ID und ob ihre Domain die des Absenders ist"),
    "RECIPIENTS": Description("Number of recipients in To and Cc", "Anzahl der Empfänger in An und Kopie"),
    "RECIPIENT_NAMED": Description("The recipient's address stands in the subject or in a link", "Die Adresse des Empfängers steht im Betreff oder in einem Link"),
    "SENDER_ADDRESS": Description("Form of the sender's address", "Form der Absenderadresse"),
    "SENDER_NAME": Description("The sender's display name, compared with the address", "Anzeigename des Absenders, verglichen mit der Adresse"),
    "ADDRESS_IN_NAME": Description("The sender's display name shows another address than the real one", "Der Anzeigename des Absenders zeigt eine andere Adresse als die wirkliche"),
    "BRAND_MISMATCH": Description("A well-known brand is named, but the address or link belongs to somebody else", "Eine bekannte Marke wird genannt, Adresse oder Link gehören aber jemand anderem"),
    "FREEMAIL": Description("The sender uses a free mail provider", "Der Absender benutzt einen kostenlosen Mailanbieter"),
    "REPLY_TO": Description("Replies go to the sender's own domain", "Antworten gehen an die eigene Domain des Absenders"),
    "REPLY_ELSEWHERE": Description("Replies go to another domain than the sender's", "Antworten gehen an eine andere Domain als die des Absenders"),
    "SUBJECT": Description("Form of the subject: length, capitals, signs", "Form des Betreffs: Länge, Großbuchstaben, Zeichen"),
    "LAYOUT": Description("How the mail is put together from parts", "Wie die Mail aus Teilen zusammengesetzt ist"),
    "CHARSET": Description("Character set of the text", "Zeichensatz des Textes"),
    "HTML": Description("How the HTML of the mail is built", "Wie das HTML der Mail gebaut ist"),
    "HIDDEN_TEXT": Description("Text or characters that the reader cannot see", "Text oder Zeichen, die der Leser nicht sieht"),
    "IMAGE_ONLY": Description("Almost only pictures, hardly any text", "Fast nur Bilder, kaum Text"),
    "FORM_IN_MAIL": Description("Input fields inside the mail", "Eingabefelder in der Mail"),
    "TEXT_SHAPE": Description("Form of the text: length, lines, capitals, digits", "Form des Textes: Länge, Zeilen, Großbuchstaben, Ziffern"),
    "DISGUISED_TEXT": Description("Letters of several alphabets mixed, spaced out or from mathematical fonts", "Buchstaben aus mehreren Alphabeten gemischt, gesperrt oder aus mathematischen Schriften"),
    "MONEY": Description("Amounts of money in the text", "Geldbeträge im Text"),
    "TELEPHONE": Description("Telephone numbers in the text", "Telefonnummern im Text"),
    "COIN_ADDRESS": Description("Address of a cryptocurrency wallet", "Adresse einer elektronischen Geldbörse für Kryptowährung"),
    "ATTACHMENT": Description("Kind and number of attached files", "Art und Anzahl der Anhänge"),
    "RISKY_ATTACHMENT": Description("An attached file of a kind that can run or show a log-in page", "Ein Anhang, der ausgeführt werden oder eine Anmeldeseite zeigen kann"),
    "LINKS": Description("Number and form of the links", "Anzahl und Form der Links"),
    "LINKS_VS_SENDER": Description("Whether links go to the sender's domain", "Ob Links zur Domain des Absenders führen"),
    "LINK_TLD": Description("Top-level domains of the links", "Endungen der verlinkten Domains"),
    "LINK_TO_ADDRESS": Description("A link goes to a bare IP address", "Ein Link führt zu einer bloßen IP-Adresse"),
    "LINK_HOSTING": Description("A link goes to a hosting or form service where anybody can publish", "Ein Link führt zu einem Hosting- oder Formulardienst, bei dem jeder veröffentlichen kann"),
    "LINK_SHORTENER": Description("A link is shortened and hides its target", "Ein Link ist gekürzt und verbirgt sein Ziel"),
    "LINK_DISGUISED": Description("A link is written to mislead: odd port, user part, many hyphens, random host", "Ein Link ist irreführend geschrieben: Port, Benutzerteil, viele Bindestriche, zufälliger Name"),
    "LINK_TEXT_DIFFERS": Description("A link shows another address than it opens", "Ein Link zeigt eine andere Adresse, als er öffnet"),
    "PICTURES": Description("Pictures that are loaded from the internet", "Bilder, die aus dem Internet geladen werden"),
    "CREDENTIALS": Description("Asks to confirm an account or a password, or threatens to block it", "Fordert auf, Konto oder Passwort zu bestätigen, oder droht mit Sperrung"),
    "SHARED_FILE": Description("Says that a document is waiting", "Behauptet, dass ein Dokument bereitliegt"),
    "PARCEL": Description("Says that a parcel cannot be delivered or costs a fee", "Behauptet, ein Paket könne nicht zugestellt werden oder koste eine Gebühr"),
    "URGENCY": Description("Presses for a quick reaction", "Drängt zu schneller Reaktion"),
    "ADVANCE_FEE": Description("Typical of advance-fee fraud: fortunes, inheritances, confidential transfers", "Typisch für Vorschussbetrug: Vermögen, Erbschaften, vertrauliche Überweisungen"),
    "GENERIC_GREETING": Description("Impersonal greeting (dear friend, dear customer)", "Unpersönliche Anrede (lieber Freund, lieber Kunde)"),
    "LOTTERY": Description("Promises a prize or a gift card", "Verspricht einen Gewinn oder eine Geschenkkarte"),
    "EXTORTION": Description("Typical of blackmail: recordings, hacked device, payment in coins", "Typisch für Erpressung: Aufnahmen, gehacktes Gerät, Zahlung in Kryptowährung"),
    "INVESTMENT": Description("Promises profit, income or an investment", "Verspricht Gewinn, Einkommen oder eine Geldanlage"),
    "LOAN": Description("Offers loans or interest rates", "Bietet Kredite oder Zinsen an"),
    "PILLS": Description("Offers medicines or slimming products", "Bietet Arzneien oder Schlankheitsmittel an"),
    "ADULT": Description("Adult content", "Inhalte für Erwachsene"),
    "GAMBLING": Description("Gambling", "Glücksspiel"),
    "COLD_SALES": Description("Typical of unasked sales letters: rankings, address lists, factories", "Typisch für ungebetene Verkaufsbriefe: Suchmaschinen, Adresslisten, Fabriken"),
    "OFFER": Description("Advertising language: discounts, guarantees, order now", "Werbesprache: Rabatte, Garantien, jetzt bestellen"),
    "BULK_MAIL": Description("Signs of a mass mailing: unsubscribe, removal from lists", "Zeichen eines Massenversands: abbestellen, aus Listen austragen"),
    "BUSINESS": Description("Signs of business mail: imprint, order and customer numbers", "Zeichen von Geschäftspost: Impressum, Bestell- und Kundennummern"),
    "PAYMENT_REQUEST": Description("Asks for a payment or speaks of invoices as fraud does", "Fordert eine Zahlung oder spricht von Rechnungen wie Betrugsmails"),
    "RSPAMD": Description("Judgement of Rspamd", "Urteil von Rspamd"),
    "SPAMASSASSIN": Description("Judgement of SpamAssassin", "Urteil von SpamAssassin"),
}  # fmt: skip

NAMES: tuple[str, ...] = tuple(SYMBOLS)
INDEX: dict[str, int] = {name: position for position, name in enumerate(NAMES)}


def describe(name: str, language: str = "en") -> str:
    """A symbol in the customer's language: what it means, an engine's rule by its name; unknown ones as they are."""
    own, _, rule = name.partition(":")
    description = SYMBOLS.get(own)
    if description is None:
        return name
    words = description.de if language.startswith("de") else description.en
    return f"{words}: {rule}" if rule else words


def engine_symbol(engine: str, rule: str = "") -> str:
    """Symbol of what an engine's rule adds to a score; without a rule, of the engine itself and what its rules leave."""
    return f"{engine.upper()}:{rule}" if rule else engine.upper()
