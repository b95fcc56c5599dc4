"""The operator's settings, read once from the environment and passed down as one frozen value.

The names are a contract (`docs/operations.md`); a wrong value stops the start with a sentence that says what to do.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from gateway.rules.behaviour import Limits
from gateway.rules.spam import Combining, Thresholds

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

ENGINES = {"embedded", "rspamd", "spamassassin"}
RETRY_SCHEDULE_S = (60, 300, 900, 1800, 3600, 7200, 14400)  # the last one repeats until the lifetime ends


class ConfigError(ValueError):
    """A setting that cannot be used; the text names the variable, the value and what is expected."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """host:port, or a Unix socket when `path` is set."""

    host: str = ""
    port: int = 0
    path: str = ""

    def as_client(self) -> Endpoint:
        """Where a client on this machine reaches what listens here."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 asked, not bound
        return replace(self, host=host)

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the relay, the portal and the monitoring read from the environment."""

    hostname: str
    var_dir: Path
    smtp_listen: tuple[Endpoint, ...]
    smtps_listen: tuple[Endpoint, ...]
    proxy_protocol_from: tuple[IPNetwork, ...]
    tls_cert: Path | None
    tls_key: Path | None
    relay_processes: int
    nameservers: tuple[Endpoint, ...]  # empty = the system's
    dnsbl_nameservers: tuple[Endpoint, ...]
    clamd: tuple[Endpoint, ...]
    rspamd: str
    spamd: Endpoint | None
    spam_thresholds: Thresholds  # the operator's; customers may be stricter or looser within bounds
    spam_combination: Combining
    spam_weights: Mapping[str, float]  # by engine, for the mean; 1 where absent
    fuse: Limits  # when a login's behaviour stops it
    max_message_size_bytes: int
    max_line_bytes: int
    max_recipients: int
    max_connections: int
    max_connections_per_address: int
    max_messages_per_session: int
    delivery_port: int
    ca_file: Path | None
    private_mx_networks: tuple[IPNetwork, ...]
    retry_schedule_s: tuple[int, ...]
    queue_lifetime_s: int
    transaction_timeout_s: int  # the longest that one outgoing SMTP transaction may take
    retention_days: int
    spf_host: str
    support_email: str
    metrics_listen: Endpoint | None
    gateways: tuple[str, ...]  # names of the gateways this node delivers by; empty = found from its addresses
    spool_dir: Path | None  # where bodies too big for a row live; None = always in the database
    demo: bool
    demo_sink: Endpoint  # where the demo's gateways hand over
    web_listen: Endpoint  # where `manage.py up` lets the portal listen
    public_url: str

    @classmethod
    def from_env(cls, env: Mapping[str, str], base_dir: Path) -> Config:
        """Read every SMG_* variable; raises ConfigError on the first that cannot be used."""
        read = _Reader(env)
        nameservers = read.endpoints("SMG_NAMESERVERS", "", default_port=53)
        hostname = read.text("SMG_HOSTNAME", socket.gethostname() or "localhost")
        var_dir = Path(read.text("SMG_VAR_DIR", str(base_dir / "var")))
        web_listen = parse_endpoint(read.text("SMG_WEB_LISTEN", "127.0.0.1:8000"), 8000, "SMG_WEB_LISTEN")
        on_sqlite = read.text("DATABASE_URL", "sqlite:").startswith("sqlite")
        return cls(
            hostname=hostname,
            var_dir=var_dir,
            smtp_listen=read.endpoints("SMG_SMTP_LISTEN", "127.0.0.1:2525", default_port=25),
            smtps_listen=read.endpoints("SMG_SMTPS_LISTEN", "", default_port=465),
            proxy_protocol_from=read.networks("SMG_PROXY_PROTOCOL_FROM"),
            tls_cert=read.path("SMG_TLS_CERT"),
            tls_key=read.path("SMG_TLS_KEY"),
            relay_processes=read.integer("SMG_RELAY_PROCESSES", os.cpu_count() or 1, least=1),
            nameservers=nameservers,
            dnsbl_nameservers=read.endpoints("SMG_DNSBL_NAMESERVERS", "", default_port=53) or nameservers,
            clamd=read.endpoints("SMG_CLAMD", "", default_port=3310),
            rspamd=read.text("SMG_RSPAMD", ""),
            spamd=read.endpoint("SMG_SPAMD", default_port=783),
            spam_thresholds=read.thresholds("SMG_SPAM_THRESHOLDS", Thresholds()),
            spam_combination=read.combination("SMG_SPAM_COMBINATION"),
            spam_weights=read.weights("SMG_SPAM_WEIGHTS"),
            fuse=_fuse_limits(read, Limits()),
            max_message_size_bytes=read.integer("SMG_MAX_MESSAGE_SIZE", 50 * 1024 * 1024, least=1024),
            max_line_bytes=read.integer("SMG_MAX_LINE", 64 * 1024, least=998),
            max_recipients=read.integer("SMG_MAX_RECIPIENTS", 1000, least=1),
            max_connections=read.integer("SMG_MAX_CONNECTIONS", 1000, least=1),
            max_connections_per_address=read.integer("SMG_MAX_CONNECTIONS_PER_ADDRESS", 100, least=1),
            max_messages_per_session=read.integer("SMG_MAX_MESSAGES_PER_SESSION", 10_000, least=1),
            delivery_port=read.integer("SMG_DELIVERY_PORT", 25, least=1),
            ca_file=read.path("SMG_CA_FILE"),
            private_mx_networks=read.networks("SMG_PRIVATE_MX_NETWORKS"),
            retry_schedule_s=read.seconds("SMG_RETRY_SCHEDULE", RETRY_SCHEDULE_S),
            queue_lifetime_s=read.duration_s("SMG_QUEUE_LIFETIME", 5 * 86400),
            transaction_timeout_s=read.duration_s("SMG_TRANSACTION_TIMEOUT", 3600),
            retention_days=read.integer("SMG_RETENTION_DAYS", 30, least=1),
            spf_host=read.text("SMG_SPF_HOST", f"spf.{hostname}"),
            support_email=read.text("SMG_SUPPORT_EMAIL", f"support@{hostname}"),
            metrics_listen=read.endpoint("SMG_METRICS_LISTEN", default_port=9200),
            gateways=read.words("SMG_GATEWAYS"),
            spool_dir=read.path("SMG_SPOOL_DIR") or (var_dir / "spool" if on_sqlite else None),
            demo=read.flag("SMG_DEMO"),
            demo_sink=parse_endpoint(read.text("SMG_DEMO_SINK", "127.0.0.1:2626"), 2626, "SMG_DEMO_SINK"),
            web_listen=web_listen,
            public_url=read.text("SMG_PUBLIC_URL", f"http://{web_listen.as_client()}").rstrip("/"),
        )


UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines of a `.env` file, quotes around a value taken away; nothing when there is no such file. Raises
    ConfigError when it cannot be read."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); SMG_ENV_FILE names another file") from error
    found = (re.fullmatch(r"(?:export )?(\w+)=(.*?)\s*", line) for line in lines)
    return {match[1]: re.sub(r"^(['\"])(.*)\1$", r"\2", match[2]) for match in found if match}


class _Reader:
    """Typed access to an environment; an empty value counts as absent."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, default: str) -> str:
        return self._env.get(name, "").strip() or default

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.text(name, "").split(",") if word.strip())

    def flag(self, name: str) -> bool:
        value = self.text(name, "off").lower()
        if value not in {"on", "true", "1", "yes", "off", "false", "0", "no"}:
            raise ConfigError(f"{name}={value!r}: expected on or off")
        return value in {"on", "true", "1", "yes"}

    def path(self, name: str) -> Path | None:
        value = self.text(name, "")
        return Path(value) if value else None

    def integer(self, name: str, default: int, *, least: int) -> int:
        value = self.text(name, str(default))
        if not value.isdecimal() or int(value) < least:
            raise ConfigError(f"{name}={value!r}: expected a whole number of at least {least}")
        return int(value)

    def duration_s(self, name: str, default: int) -> int:
        """'432000', '120h' or '5d', in seconds."""
        value = self.text(name, str(default)).replace(" days", "d").replace(" ", "")
        number, unit = (value[:-1], value[-1]) if value[-1:] in UNITS_S else (value, "s")
        if not number.isdecimal() or int(number) == 0:
            raise ConfigError(f"{name}={value!r}: expected seconds, or a number with s, m, h or d")
        return int(number) * UNITS_S[unit]

    def seconds(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        words = self.words(name)
        if not all(word.isdecimal() and int(word) > 0 for word in words):
            raise ConfigError(
                f"{name}={','.join(words)!r}: expected seconds separated by commas, like 60,300,900"
            )
        return tuple(int(word) for word in words) or default

    def networks(self, name: str) -> tuple[IPNetwork, ...]:
        try:
            return tuple(ipaddress.ip_network(word, strict=False) for word in self.words(name))
        except ValueError as error:
            raise ConfigError(f"{name}: {error}; expected networks like 10.0.0.0/8,::1/128") from error

    def thresholds(self, name: str, default: Thresholds) -> Thresholds:
        """'40,75': the scores from which mail is suspect, and spam."""
        words = self.words(name) or (str(default.suspect), str(default.spam))
        try:
            suspect, spam = (float(word) for word in words)
        except ValueError as error:
            raise ConfigError(f"{name}={','.join(words)!r}: expected two scores, like 40,75") from error
        if not 0 < suspect <= spam <= 100:
            raise ConfigError(f"{name}={','.join(words)!r}: expected 0 < suspect <= spam <= 100")
        return Thresholds(suspect, spam)

    def combination(self, name: str) -> Combining:
        match self.text(name, "max"):
            case "max" | "mean" | "engines" as how:
                return how
            case other:
                raise ConfigError(f"{name}={other!r}: expected max, mean or engines")

    def weights(self, name: str) -> Mapping[str, float]:
        """'embedded=1,rspamd=2' -> weights by engine."""
        pairs = [word.partition("=") for word in self.words(name)]
        try:
            weights = {engine: float(weight) for engine, _, weight in pairs}
        except ValueError as error:
            raise ConfigError(f"{name}: expected engine=weight pairs, like embedded=1,rspamd=2") from error
        if any(weight < 0 for weight in weights.values()) or not weights.keys() <= ENGINES:
            raise ConfigError(f"{name}: expected weights of {', '.join(sorted(ENGINES))}, none below 0")
        return weights

    def pair(self, name: str, default: tuple[int, int]) -> tuple[int, int]:
        """'20,30': two whole numbers, both at least 1."""
        words = self.words(name) or tuple(map(str, default))
        if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
            raise ConfigError(
                f"{name}={','.join(words)!r}: expected two whole numbers, like {default[0]},{default[1]}"
            )
        return int(words[0]), int(words[1])

    def endpoint(self, name: str, *, default_port: int) -> Endpoint | None:
        found = self.endpoints(name, "", default_port=default_port)
        return found[0] if found else None

    def endpoints(self, name: str, default: str, *, default_port: int) -> tuple[Endpoint, ...]:
        words = self.words(name) or tuple(word for word in default.split(",") if word)
        return tuple(parse_endpoint(word, default_port, name) for word in words)


def _fuse_limits(read: _Reader, default: Limits) -> Limits:
    """The abuse fuse: below how many recipients nothing is judged, and one pair of numbers for each signal."""
    bad, bad_percent = read.pair("SMG_FUSE_BAD", (default.bad_messages, round(100 * default.bad_share)))
    unknown, unknown_percent = read.pair(
        "SMG_FUSE_UNKNOWN", (default.unknown_recipients, round(100 * default.unknown_share))
    )
    complaints, complaint_percent = read.pair(
        "SMG_FUSE_COMPLAINTS", (default.complaints, round(100 * default.complaint_share))
    )
    for name, percent in (
        ("SMG_FUSE_BAD", bad_percent),
        ("SMG_FUSE_UNKNOWN", unknown_percent),
        ("SMG_FUSE_COMPLAINTS", complaint_percent),
    ):
        if percent > 100:
            raise ConfigError(f"{name}: expected at most 100 percent, not {percent}")
    flood, flood_times = read.pair("SMG_FUSE_FLOOD", (default.flood_recipients, round(default.flood_times)))
    burst, burst_times = read.pair("SMG_FUSE_BURST", (default.burst_recipients, round(default.burst_times)))
    return replace(
        default,
        min_recipients=read.integer("SMG_FUSE_LEAST", default.min_recipients, least=1),
        bad_messages=bad,
        bad_share=bad_percent / 100,
        unknown_recipients=unknown,
        unknown_share=unknown_percent / 100,
        complaints=complaints,
        complaint_share=complaint_percent / 100,
        flood_recipients=flood,
        flood_times=float(flood_times),
        burst_recipients=burst,
        burst_times=float(burst_times),
    )


@lru_cache(maxsize=256)  # a gateway's next hop is read anew with every message
def parse_endpoint(text: str, default_port: int, name: str = "endpoint") -> Endpoint:
    """'unix:/path', 'tcp:host:port', 'host:port', '[::1]:port' or 'host' -> Endpoint; raises ConfigError."""
    if text.startswith(("unix:", "/")):
        return Endpoint(path=text.removeprefix("unix:"))
    host, port = _split_host_port(text.removeprefix("tcp:"), default_port)
    if not host or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise ConfigError(f"{name}={text!r}: expected host:port, [IPv6]:port or unix:/path")
    return Endpoint(host=host, port=int(port))


def _split_host_port(text: str, default_port: int) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or str(default_port)
    if text.count(":") > 1:  # a bare IPv6 address
        return text, str(default_port)
    host, _, port = text.partition(":")
    return host, port or str(default_port)
