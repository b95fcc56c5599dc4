"""The door for writing: every change to what the relay knows is a verb here.

A verb runs in one transaction, validates, writes, leaves an AuditEntry and, when the relay must know, moves the
policy version. `actor` is the e-mail address of the person, 'command line' or 'system'. Verbs raise
`django.core.exceptions.ValidationError` for input that cannot be accepted; they never raise for a repeated call
that finds its work done.
"""
