"""Encryption of the hop to the outside server.

contexts   SSL contexts, one per kind, made once
verify     whether the certificate that we see is the one that we want (chain, name, pin, DANE)
dane       TLSA look-ups (RFC 7672)
mta_sts    policies: TXT record, HTTPS fetch, cache (RFC 8461)
tls_rpt    daily aggregate reports (RFC 8460)
preflight  probes a domain: what each level would say
"""
