"""Webhooks after the Standard Webhooks specification: events go to an outbox, a worker sends them.

events     which events there are, and how rows of the log become deliveries (the outbox)
endpoints  the verbs: create, change, rotate the secret, switch on and off, remove, send again
signing    the signature and the back-off, pure
sender     one POST: only to public addresses, no redirects, 5 s, 16 KiB
tasks      send what is due in the outbox; forget what is old
worker     collect and send, every second beside the scheduler's cluster
"""
