"""MTA-STS policies of recipient domains (RFC 8461): the TXT record says whether and when to fetch, HTTPS brings the
policy, which holds for its max_age even when record or web server are gone (that is its protection).

The cache can be kept in a file, so that a restart does not open the door to a downgrade.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.dns import DnsError, Resolver
from gateway.rules.mta_sts import MAX_POLICY_BYTES, BadPolicy, parse_policy, record_id
from gateway.rules.tls_policy import StsMode, StsPolicy
from gateway.tls.contexts import TlsContexts
from gateway.tls.https_get import FetchFailed, HttpsGet, public_addresses

log = logging.getLogger(__name__)

MAX_DOMAINS = 10_000
RETRY = timedelta(minutes=5)  # after a fetch that failed
PATH = "/.well-known/mta-sts.txt"

Fetch = Callable[[str, str, int], Awaitable[bytes]]  # host, path, most octets -> body; raises FetchFailed


@dataclass(frozen=True, slots=True)
class _Kept:
    policy: StsPolicy
    until: datetime


@dataclass(frozen=True, slots=True)
class StsResult:
    """`problem` says why there is no (fresh) policy although the domain announces one: result type and sentence."""

    policy: StsPolicy | None
    problem: str = ""
    text: str = ""


class StsPolicies:
    """One per event loop. `file` may be shared by processes; each reads it once and replaces it as a whole."""

    def __init__(
        self, resolver: Resolver, fetch: Fetch, clock: Callable[[], datetime], file: Path | None = None
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._clock = clock
        self._file = file
        self._kept: dict[str, _Kept] = _read_file(file)
        self._failed: dict[tuple[str, str], tuple[datetime, StsResult]] = {}
        self._running: dict[str, asyncio.Task[StsResult]] = {}

    @classmethod
    def from_config(cls, config: Config, resolver: Resolver, clock: Callable[[], datetime]) -> StsPolicies:
        """As a relay process needs it; the cache lives in the operator's var directory."""
        addresses = public_addresses(resolver, config.private_mx_networks)
        fetch = HttpsGet(addresses, TlsContexts(config.ca_file).web())
        return cls(resolver, fetch, clock, config.var_dir / "mta-sts.json")

    async def policy(self, domain: str) -> StsPolicy | None:
        """The policy in force for a recipient domain, None when it has none. Raises nothing."""
        return (await self.result(domain)).policy

    async def result(self, domain: str) -> StsResult:
        """The same with the reason when a policy that is announced cannot be had."""
        kept = self._kept.get(domain)
        if kept is not None and kept.until <= self._clock():
            del self._kept[domain]
            kept = None
        announced = await self._announced(domain)
        if announced is None or (kept is not None and kept.policy.id == announced):
            return _in_force(kept, StsResult(None))
        fresh = await self._once(domain, announced)
        return _in_force(kept, fresh) if fresh.problem else fresh

    async def _announced(self, domain: str) -> str | None:
        try:
            return record_id((await self._resolver.txt(f"_mta-sts.{domain}")).texts)
        except DnsError:
            return None  # an outage does not end a policy that we have, and cannot begin one

    async def _once(self, domain: str, identity: str) -> StsResult:
        """Fetch once for all that wait; a failure counts for some minutes."""
        failed = self._failed.get((domain, identity))
        if failed is not None and self._clock() < failed[0] + RETRY:
            return failed[1]
        task = self._running.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._refresh(domain, identity))
            self._running[domain] = task
            task.add_done_callback(lambda _: self._running.pop(domain, None))
        return await asyncio.shield(task)

    async def _refresh(self, domain: str, identity: str) -> StsResult:
        try:
            body = await self._fetch(f"mta-sts.{domain}", PATH, MAX_POLICY_BYTES)
            policy = parse_policy(body.decode("utf-8"), identity)
        except FetchFailed as error:
            return self._fail(domain, identity, StsResult(None, error.kind, str(error)))
        except (BadPolicy, UnicodeDecodeError) as error:
            text = str(error) if isinstance(error, BadPolicy) else "the policy is no UTF-8 text"
            return self._fail(domain, identity, StsResult(None, "sts-policy-invalid", text))
        return _in_force(self._keep(domain, policy), StsResult(None))

    def _fail(self, domain: str, identity: str, result: StsResult) -> StsResult:
        if len(self._failed) >= MAX_DOMAINS:
            self._failed.pop(next(iter(self._failed)))
        self._failed[domain, identity] = (self._clock(), result)
        return result

    def _keep(self, domain: str, policy: StsPolicy) -> _Kept:
        while len(self._kept) >= MAX_DOMAINS:
            self._kept.pop(next(iter(self._kept)))
        kept = _Kept(policy, self._clock() + timedelta(seconds=policy.max_age_s))
        self._kept[domain] = kept
        _write_file(self._file, domain, kept)
        return kept


def _in_force(kept: _Kept | None, result: StsResult) -> StsResult:
    """The kept policy with what went wrong, if anything. Mode none is kept like others (it spares fetches) and means
    no policy: the way out of MTA-STS (RFC 8461 section 8.3)."""
    policy = kept.policy if kept is not None and kept.policy.mode is not StsMode.NONE else None
    return StsResult(policy, result.problem, result.text)


def _read_file(file: Path | None) -> dict[str, _Kept]:
    if file is None or not file.exists():
        return {}
    try:
        rows: dict[str, dict[str, str]] = json.loads(file.read_text("utf-8"))
        return {domain: _from_row(row) for domain, row in rows.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.warning("the MTA-STS cache cannot be read; policies will be fetched again")
        return {}


def _from_row(row: dict[str, str]) -> _Kept:
    return _Kept(parse_policy(row["text"], row["id"]), datetime.fromisoformat(row["until"]))


def _write_file(file: Path | None, domain: str, kept: _Kept) -> None:
    """Put one policy into the file; what other processes have put there stays."""
    if file is None:
        return
    everything = {**_read_file(file), domain: kept}
    rows: dict[str, Any] = {
        name: {"id": one.policy.id, "until": one.until.isoformat(), "text": one.policy.text}
        for name, one in list(everything.items())[-MAX_DOMAINS:]
    }
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(rows), "utf-8")
        fresh.replace(file)
    except OSError:
        log.warning("the MTA-STS cache cannot be written; policies will be fetched again after a restart")
