"""Judging mail in-process: own code, standard library only, from bytes to a score with named reasons.

parse      bytes to headers and parts, bounded; `charset` and `html` help it
features   a mail as hashed features: `structure`, `links`/`urls`, `phrases`, `words`, `language`
tables     the shipped weights; `train` makes them (development only)
score      features to a score and the share of each symbol; `symbols` says them in words, `kinds` names the kind
learn      what this installation learned, beside the tables
engines    Rspamd and SpamAssassin, asked when configured; `combine` joins their opinions with ours
judge      the door for the relay: never raises, never blocks the event loop, names what was degraded
"""

from gateway.rules.spam import Score, Symbol, Thresholds
from gateway.spam.judge import Setup, judge
from gateway.spam.learn import LocalCounts
from gateway.spam.score import rescore, score
from gateway.spam.tables import Tables

__all__ = ["LocalCounts", "Score", "Setup", "Symbol", "Tables", "Thresholds", "judge", "rescore", "score"]
