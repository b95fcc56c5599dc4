"""The wire side of accept: SMTP as it is spoken, on top of aiosmtpd.

server      listeners, orderly stop           connection  one client: lines, replies, deadlines, TLS, the end
greeting    EHLO, STARTTLS, RSET, QUIT ...     inbox       what was received, bounded
authentication  AUTH PLAIN and LOGIN          deadline    one timer per connection
transfer    MAIL, RCPT, DATA, BDAT            lines       command and reply lines
proxy       the PROXY protocol                tls         certificate and context
handshake   from clear text to TLS

What the commands mean is in `gateway/accept.py`; where a body ends is in `gateway/rules/body_framing.py`.
"""
