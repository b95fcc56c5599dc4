"""The relay. A message's way, one file per step:

accept   speaks SMTP with the customer's mail server and builds the envelope
check    sender domain, ownership, limits, virus, spam
queue    commits envelope, body and verdict durably; only then 250
route    pool by category, gateway of the pool, next hop, TLS policy
sign     DKIM, last of all changes
deliver  one SMTP transaction with the next hop, an outcome per recipient
report   settles recipients, timeline, NDR, counters

`pipeline` is the contents page: two short functions whose lines are the names of these steps.
"""
