"""The route step: from a parcel and its gateway to the hops to try, each with the protection it needs.

The pool and the gateway were chosen by the scheduler (`rules/gateways.py`: clean mail never by Bad, spam never by
Good). Fails with StepFailed: nowhere to go (bounced) or the DNS does not say (deferred).
"""

from __future__ import annotations

from gateway.config import Config
from gateway.dns import Resolver
from gateway.outbound.hops import HopFinder, Wish, own_addresses
from gateway.rules.policy import GatewayPolicy, Snapshot
from gateway.rules.route_types import Route
from gateway.rules.tls_policy import rules_for
from gateway.tls.mta_sts import StsPolicies
from gateway.work import Parcel


class Router:
    """One per event loop."""

    def __init__(self, resolver: Resolver, config: Config, sts: StsPolicies | None = None) -> None:
        self._config = config
        self._finder = HopFinder.from_config(config, resolver, sts=sts)
        self._known: Snapshot | None = None

    async def route(self, snapshot: Snapshot, parcel: Parcel, gateway: GatewayPolicy) -> Route:
        """At least one hop; raises StepFailed."""
        self._know_gateways(snapshot)
        mail = parcel.mail
        rules = snapshot.tls_rules.get(mail.customer_id or 0, ())
        rule, shadow_rule = rules_for(rules, mail.sender_domain, parcel.domain)
        wish = Wish(rule, shadow_rule, mail.require_tls, mail.tls_optional)
        hops = await self._finder.hops(parcel.domain, gateway, wish)
        is_smart_host = bool(gateway.next_hop)
        return Route(gateway, gateway.next_hop or parcel.domain, hops, smart_host=is_smart_host)

    async def self_test(self) -> None:
        """Find out whether the resolver validates DNSSEC; without that DANE is unavailable, not failed."""
        if self._finder.dane is not None:
            await self._finder.dane.self_test()

    def _know_gateways(self, snapshot: Snapshot) -> None:
        """Mail must not come back to us by any of our names or addresses."""
        if self._known is snapshot:
            return
        ways = tuple(snapshot.gateways.values())
        self._finder.own_hosts = frozenset({self._config.hostname, *(way.hostname for way in ways)})
        self._finder.own_addresses = own_addresses(self._config, ways)
        self._known = snapshot
