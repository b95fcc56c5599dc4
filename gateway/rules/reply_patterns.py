"""The words that servers use, as tables: which text means which reason, and which blocklist it names.

The first pattern that fits wins, so what is special stands before what is general. All patterns run over text that was
cleaned, cut and case-folded; none can backtrack without bound (no nested repeats).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.rules.types import Stage


@dataclass(frozen=True, slots=True)
class Pattern:
    reason: str
    text: re.Pattern[str]
    codes: frozenset[int] = frozenset()  # empty = any
    enhanced: str = ""  # prefix; '' = any
    stages: frozenset[Stage] = frozenset()  # empty = any


def _pattern(reason: str, *texts: str, codes: str = "", enhanced: str = "", stages: str = "") -> Pattern:
    return Pattern(
        reason,
        re.compile("|".join(f"(?:{text})" for text in texts)),
        frozenset(map(int, codes.split())),
        enhanced,
        frozenset(map(Stage, stages.split())),
    )


_GREYLISTED = _pattern(
    "greylisted",
    r"gr[ae]y-?\s?list",
    r"postgrey",
    r"try again in \d+ ?(?:s|sec|seconds|min|minutes)\b.{0,40}(?:first|new|unknown)",
    r"(?:first|initial) (?:contact|delivery attempt).{0,60}(?:try|retry|again|later)",
)

_QUOTA = _pattern(
    "quota",
    r"mailbox (?:is )?(?:full|over quota)",
    r"over\s?quota",
    r"quota (?:exceeded|full|is full)",
    r"exceed(?:ed|s) (?:the |its |his |storage |mailbox |disk )*(?:quota|storage|limit for mailbox)",
    r"(?:out of|insufficient|not enough|no) (?:disk |storage |mailbox )*(?:storage|space)",
    r"inbox is (?:full|out of storage)",
    r"account is full",
    r"postfach (?:ist )?(?:voll|überfüllt)",
)

_SENDING_QUOTA = _pattern(
    "rate_limited", r"daily (?:user )?sending (?:quota|limit)", r"sending limit exceeded"
)

_RATE = _pattern(
    "rate_limited",
    r"rate.?limit",
    r"too many (?:messages|mails|emails|connections|sessions|concurrent|requests|errors|unknown)",
    r"(?:unusual|unsolicited mail) rate",
    r"receiving mail (?:too quickly|at a rate)",
    r"throttl",
    r"(?:exceeded|exceeds|over) (?:the |our |its |your |maximum |hourly |daily )*"
    r"(?:connection|message|sending|hourly|daily|rate)s? (?:rate|limit|quota|count)",
    r"limit (?:on|for) (?:the )?number of (?:messages|connections|recipients per (?:hour|day))",
    r"too (?:much mail|fast|quickly|frequently)",
    r"concurrent (?:server )?connections|exceeded a per-source limit",
    r"slow down",
    r"server busy\. please try again later from \[",
    codes="421 450 451 452 454 471 550 553 554 571",
)

_PTR = _pattern(
    "no_ptr",
    r"bad dns ptr",
    r"(?:no|missing|invalid|without|lacks?|bad|does not have a) (?:valid )?(?:ptr|rdns|reverse[- ]dns)",
    r"(?:ptr|reverse[- ]dns|rdns)(?: record| entry| lookup)?.{0,30}"
    r"(?:missing|not found|required|fail|invalid|does not)",
    r"cannot find your (?:reverse )?host\s?name",
    r"client host rejected: cannot find",
    r"fix reverse dns",
)

_BLOCKLIST = _pattern(
    "blocklisted",
    r"spamhaus|spamcop|barracudacentral|uceprotect|abuseat\.org|surriel|invaluement|mailspike|spamrats|sorbs\.net",
    r"manitu\.net|blocklist\.de|truncate\.gbudb|senderscore|abusix|backscatterer|nordspam|0spam|s5h\.net|dronebl",
    r"ipcheck\.proofpoint|proofpoint.{0,30}(?:block|reputation)|(?:blocked|reputation).{0,60}proofpoint",
    r"csi\.cloudmark|cloudmark sender",
    r"\bs31[45]0\b|part of their network is on our block list",
    r"banned sending ip|traffic not accepted from this ip|\b5\.7\.(?:60[6-9]|6[1-4]\d|708)\b",
    r"\[tss?\d\d\]|\[ts\d\d\]|permanently deferred|temporarily deferred due to (?:user complaints|unexpected volume)",
    r"(?:ip|host|client|address|sender|server|network|\]).{0,60}(?:black|block|deny|reject).?list",
    r"(?:listed|found|blocked) (?:in|on|by|using|at) [\w.-]*(?:rbl|dnsbl|bl|black\w*|block\w*)\b",
    r"\b(?:rbl|dnsbl)\b",
    r"blocked using",
    r"mail from (?:your )?ip.{0,60}(?:blocked|rejected|refused)",
    r"(?:your|the|this|sending|source|client) (?:sending )?(?:ip|ip address|mail server|server ip).{0,50}"
    r"(?:blocked|banned|listed)",
    r"\(bl\)|\bnemesis.{0,40}(?:black|block)",
)

_REPUTATION = _pattern(
    "reputation",
    r"(?:none|bad|poor|low|no).{0,10}reputation",
    r"reputation.{0,30}(?:poor|low|bad|too)",
    r"\(nowl\)|postmaster@.{0,40}t-online|tosa@rx\.t-online",
    r"transaction failed.{0,40}reject due to policy restrictions",
    r"suspicious due to the (?:very |nature|low)",
    r"ip=[\d.a-f:]+ - a problem occurred",
    r"mail (?:system|server).{0,20}not (?:yet )?(?:known|trusted)",
)

_AUTHENTICATION = _pattern(
    "authentication",
    r"\bdmarc\b",
    r"\bspf\b.{0,60}(?:fail|not pass|reject|not allowed|violat|invalid|permerror|denied|check|required|misaligned)",
    r"(?:fail|not pass|reject|violat|unauthori[sz]ed).{0,60}\bspf\b",
    r"\bdkim\b.{0,60}(?:fail|not pass|invalid|missing|required|unsigned|bad)",
    r"unauthenticated (?:e?mail|message)",
    r"sender policy framework",
    r"is not authori[sz]ed to send (?:mail )?(?:from|for)",
    r"domain .{0,80}does not (?:pass|meet) (?:the )?(?:dmarc|required authentication)",
)

_SENDER_BLOCKED = _pattern(
    "sender_blocked",
    r"banned sender",
    r"(?:sender|from address|envelope sender).{0,60}(?:blacklisted|blocklisted|blocked|banned|denied by recipient)",
    r"you (?:are|have been) blocked by",
)

_SPAM = _pattern(
    "spam",
    r"(?:message|mail|content|this).{0,60}(?:spam|unsolicited|junk|uce\b|bulk)",
    r"spam.{0,30}(?:detected|message|content|score|filter|suspect)",
    r"(?:high|likely|detected as|considered|classified as|identified as|looks like|as) (?:probability of )?spam",
    r"rejected as spam|suspected spam|unsolicited",
    stages="mail rcpt data dot",
)

_VIRUS = _pattern("virus", r"\b(?:virus|malware|trojan|infected|phish)", stages="dot")

_CONTENT = _pattern(
    "content",
    r"(?:attachment|file (?:type|name|extension)|executable).{0,60}"
    r"(?:not allowed|blocked|prohibited|rejected|forbidden|not accepted)",
    r"(?:blocked|rejected|prohibited|forbidden|disallowed).{0,40}(?:attachment|file|content|url|link)",
    r"message (?:headers?|content).{0,40}(?:rejected|not compliant|invalid|missing)",
    r"not (?:rfc|compliant).{0,20}(?:5322|2822|compliant)",
    r"blocked because its content presents",
    stages="data dot",
)

_DISABLED = _pattern(
    "mailbox_disabled",
    r"(?:account|mailbox|user|recipient).{0,50}"
    r"(?:disabled|inactive|suspended|deactivated|locked|expired|not active|closed)",
    r"(?:disabled|inactive|suspended) (?:account|mailbox|user|recipient)",
    stages="rcpt dot",
)

_UNKNOWN = _pattern(
    "unknown_user",
    r"(?:user|recipient|mailbox|account|address|addressee|empfänger|alias)s?\b.{0,60}"
    r"(?:unknown|not found|does ?n[o']t exist|not exist|no such|not known"
    r"|invalid|undeliverable|unrouteable|unbekannt|not listed)",
    r"(?:unknown|no such|invalid|non-?existent|undeliverable|unrouteable) (?:local )?"
    r"(?:user|recipient|mailbox|account|address|local part|person|alias)",
    r"doesn'?t have (?:a|an) [\w.-]+ (?:user|account)",
    r"no mailbox (?:here )?(?:by|with) that name",
    r"(?:recipient|user).{0,10}rejected: (?:access denied|user unknown|undeliverable)",
    r"requested action not taken: mailbox unavailable",
    r"mailbox (?:is )?(?:unavailable|not available|not found)",
    r"not our customer|no longer (?:valid|employed|available|with)",
    r"recipnotfound|recipientnotfound",
    stages="rcpt dot",
)

_RELAY = _pattern(
    "relay_denied",
    r"relay(?:ing)?.{0,20}(?:denied|not permitted|not allowed|prohibited|access|disabled|forbidden)",
    r"unable to relay|not (?:permitted|allowed|authori[sz]ed|configured) to relay|we (?:do not|don't) relay",
    r"tenantattribution",
    r"domain .{0,60}(?:not (?:found|local|hosted|handled)|isn't (?:in my|allowed))",
    r"not (?:a )?local (?:domain|host)",
    stages="rcpt dot",
)

_UNRESOLVABLE = _pattern(
    "sender_unresolvable",
    r"sender.{0,60}(?:domain not found|cannot be resolved|domain (?:must|does not) (?:resolve|exist))",
    r"(?:domain of sender|sender'?s? domain).{0,60}"
    r"(?:not (?:exist|resolve|found)|does ?n[o']t|no (?:mx|a record)|invalid)",
    r"sender verif(?:y|ication) failed",
)

_TLS = _pattern(
    "tls",
    r"must issue a? ?starttls",
    r"(?:\btls|encryption|encrypted connection|secure connection).{0,40}"
    r"(?:required|mandatory|needed|not available|unavailable)",
    r"(?:requires?|need) (?:tls|encryption|starttls)",
)
_SIZE = _pattern(
    "size",
    r"(?:message|mail|data|size|content).{0,50}"
    r"(?:too (?:big|large|long)|exceeds? .{0,40}(?:size|limit|maximum|length))",
    r"(?:exceeds?|exceeded|over|maximum).{0,40}(?:message|mail|allowable|fixed|maximum|size) ?(?:size|limit)",
    r"size limit",
)
_RECIPIENTS = _pattern("too_many_recipients", r"too many (?:recipients|rcpt)", r"recipients? limit")
_LOOP = _pattern(
    "loop", r"too many (?:hops|received)|mail loop|loop(?:s|ing)? (?:back|detected)|hop count exceeded"
)
_LOGIN = _pattern(
    "login",
    r"authentication (?:is )?required|auth(?:entication)? (?:first|needed)|must (?:authenticate|log ?in)|smtp auth",
    codes="503 530 534 535 550 554",
    stages="auth mail rcpt",
)
_BUSY = _pattern(
    "busy",
    r"(?:server|system|service).{0,30}(?:busy|overload|load too high|shutting down|not available|unavailable|closing)",
    r"try again later",
    r"temporar(?:y|ily) (?:unavailable|failure|error|rejected|problem)",
    codes="421 450 451 452",
    stages="connect banner ehlo mail data",
)
_SERVER = _pattern(
    "server_error",
    r"(?:internal|local|server|system) (?:processing |configuration |resources? )?(?:error|problem|failure|fault)",
    r"lookup (?:failure|error)|queue file write error|error in processing",
    codes="421 450 451 452 454 550 554",
)
_DNS = _pattern(
    "dns", r"(?:dns|name service|host(?:name)?) (?:lookup|error|resolution|timeout|fail)", codes="450 451"
)
_NO_MAIL = _pattern(
    "no_mail", r"does not (?:accept|receive) (?:e-?)?mail|no (?:smtp )?service here", codes="521 554 556"
)

# From the most telling to the most general.
PATTERNS: tuple[Pattern, ...] = (
    _NO_MAIL,
    _LOOP,
    _TLS,
    _GREYLISTED,
    _SENDING_QUOTA,
    _PTR,
    _AUTHENTICATION,
    _BLOCKLIST,
    _QUOTA,
    _RECIPIENTS,
    _SIZE,
    _SENDER_BLOCKED,
    _REPUTATION,
    _RATE,
    _VIRUS,
    _SPAM,
    _CONTENT,
    _DISABLED,
    _UNRESOLVABLE,
    _UNKNOWN,
    _RELAY,
    _LOGIN,
    _SERVER,
    _DNS,
    _BUSY,
)


def _blocklist(slug: str, text: str) -> tuple[str, re.Pattern[str]]:
    return slug, re.compile(text)


# Slugs are those of the blocklist side's providers and of its reputation systems without DNS.
BLOCKLISTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    _blocklist("spamhaus-dbl", r"dbl\.spamhaus"),
    _blocklist("spamhaus-zen", r"spamhaus"),
    _blocklist("spamcop", r"spamcop"),
    _blocklist("barracuda-brbl", r"barracuda"),
    _blocklist("abusix-combined", r"abusix"),
    _blocklist("validity-rpbl", r"senderscore|return ?path|validity"),
    _blocklist("mailspike-bl", r"mailspike"),
    _blocklist("psbl", r"surriel|\bpsbl\b"),
    _blocklist("blocklist-de", r"blocklist\.de"),
    _blocklist("uceprotect-3", r"dnsbl-3\.uceprotect"),
    _blocklist("uceprotect-2", r"dnsbl-2\.uceprotect"),
    _blocklist("uceprotect-1", r"uceprotect"),
    _blocklist("backscatterer", r"backscatterer"),
    _blocklist("spamrats-all", r"spamrats"),
    _blocklist("sem-black", r"spameatingmonkey"),
    _blocklist("dronebl", r"dronebl"),
    _blocklist("hostkarma", r"junkemailfilter|hostkarma"),
    _blocklist("truncate", r"gbudb|truncate"),
    _blocklist("nordspam-ip", r"nordspam"),
    _blocklist("0spam-bl", r"0spam"),
    _blocklist("s5h", r"s5h\.net"),
    _blocklist("nixspam", r"manitu|nixspam"),
    _blocklist("sorbs", r"sorbs"),
    _blocklist("invaluement-sip", r"invaluement"),
    _blocklist("cbl", r"abuseat"),
    _blocklist("proofpoint-pdr", r"proofpoint"),
    _blocklist("cloudmark-csi", r"cloudmark"),
    _blocklist("t-online", r"t-online|\(nowl\)|ip=[\d.a-f:]+ - a problem occurred"),
    _blocklist("united-internet", r"gmx|web\.de|ionos|1und1|kundenserver|bad dns ptr resource record"),
    _blocklist(
        "microsoft",
        r"\bs31[45]0\b|protection\.outlook|banned sending ip|5\.7\.(?:60[6-9]|6[1-4]\d|708)|sendersupport\.olc",
    ),
    _blocklist("securence", r"securence"),
)
