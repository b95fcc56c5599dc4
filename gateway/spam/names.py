"""What may be known of names and addresses: brands and who may send under them, freemail, role mailboxes."""
# ruff: noqa: E501  (a table: one entry a row)

from __future__ import annotations

BRANDS: dict[str, tuple[str, ...]] = {
    "paypal": ("paypal",), "amazon": ("amazon", "amazonses"), "microsoft": ("microsoft", "microsoftonline", "office"),
    "office 365": ("microsoft", "office"), "office365": ("microsoft", "office"), "outlook": ("microsoft", "outlook"),
    "sharepoint": ("microsoft", "sharepointonline"), "onedrive": ("microsoft", "onedrive"), "apple": ("apple", "icloud"),
    "icloud": ("apple", "icloud"), "netflix": ("netflix",), "spotify": ("spotify",), "docusign": ("docusign",),
    "dropbox": ("dropbox", "dropboxmail"), "facebook": ("facebook", "facebookmail", "meta"), "instagram": ("instagram", "facebookmail"),
    "whatsapp": ("whatsapp",), "linkedin": ("linkedin",), "google": ("google", "gmail", "youtube"), "ebay": ("ebay",),
    "dhl": ("dhl", "deutschepost"), "ups": ("ups",), "fedex": ("fedex",), "usps": ("usps",), "hermes": ("hermesworld", "myhermes"),
    "dpd": ("dpd",), "gls": ("gls-group", "gls-pakete", "gls"), "sparkasse": ("sparkasse",), "volksbank": ("volksbank", "vr"),
    "commerzbank": ("commerzbank",), "postbank": ("postbank",), "deutsche bank": ("db", "deutsche-bank"), "dkb": ("dkb",),
    "ing-diba": ("ing", "ing-diba"), "comdirect": ("comdirect",), "n26": ("n26",), "santander": ("santander",),
    "barclays": ("barclays",), "hsbc": ("hsbc",), "wells fargo": ("wellsfargo",), "chase": ("chase",), "citibank": ("citi", "citibank"),
    "bank of america": ("bankofamerica",), "american express": ("americanexpress", "aexp"), "mastercard": ("mastercard",),
    "visa": ("visa",), "metamask": ("metamask",), "coinbase": ("coinbase",), "binance": ("binance",), "blockchain": ("blockchain",),
    "trust wallet": ("trustwallet",), "ledger": ("ledger",), "telekom": ("telekom", "t-online"), "vodafone": ("vodafone",),
    "1&1": ("1und1", "ionos"), "ionos": ("ionos",), "strato": ("strato",), "gmx": ("gmx",), "web.de": ("web",),
    "klarna": ("klarna",), "zalando": ("zalando",), "adobe": ("adobe",), "zoom": ("zoom",), "steam": ("steampowered",),
    "norton": ("norton", "nortonlifelock"), "mcafee": ("mcafee",), "geek squad": ("bestbuy",), "finanzamt": ("elster", "bund"),
    "elster": ("elster",), "irs": ("irs",), "hmrc": ("hmrc",), "walmart": ("walmart",), "costco": ("costco",), "interpol": ("interpol",),
}  # fmt: skip
"""Brand as it stands in a display name -> organisation labels that may send under it."""

FREEMAIL = frozenset(
    "gmail googlemail yahoo ymail rocketmail hotmail outlook live msn aol icloud me mac gmx web t-online freenet mail "
    "inbox yandex bk list protonmail proton tutanota zoho qq 163 126 sina sohu naver hanmail daum rediffmail excite "
    "lycos netscape juno usa bigfoot email arcor libero virgilio tiscali orange wanadoo laposte free sfr terra uol bol "
    "hushmail fastmail seznam o2 onet wp interia ukr".split()
)
"""Organisation labels of mail providers that give a mailbox to anybody."""
