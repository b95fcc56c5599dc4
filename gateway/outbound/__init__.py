"""The SMTP client: one connection to a next hop and what is said on it.

reading      octets -> replies, with limits (no sockets)
commands     addresses and features -> command lines (no sockets)
connection   the asyncio protocol: write, wait for a reply, in time
session      connect, greeting, EHLO, STARTTLS, AUTH: a connection that is ready for mail
transaction  MAIL, RCPT, DATA, the message: an answer per recipient
pool         sessions kept open between transactions
hops         a domain's servers with addresses and TLS demands (for the step `route`)

A failure is one of two things: HopFailed (this host cannot be used now; another may) or a reply to one recipient.
"""
