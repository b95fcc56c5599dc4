"""Messages that try to break a reader or to keep it busy."""

from __future__ import annotations

from base64 import b64encode

HTML = b"From: a@b.example\r\nSubject: x\r\nContent-Type: text/html\r\n\r\n"
PLAIN = b"From: a@b.example\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
BASE64 = PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")


def multipart(part: bytes, count: int) -> bytes:
    """`count` times the same part."""
    return (
        b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"".join(b"--b\r\n" + part + b"\r\n" for _ in range(count))
        + b"--b--\r\n"
    )


def nested(depth: int) -> bytes:
    """Multiparts in multiparts, none ever closed."""
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
    )


CASES: dict[str, bytes] = {
    "empty": b"",
    "only-newlines": b"\r\n" * 100_000,
    "no-header-end": b"From: a@b.example\r\nSubject: never ends",
    "nul-and-binary": bytes(range(256)) * 800,
    "ten-thousand-parts": multipart(b"Content-Type: text/plain\r\n\r\nx", 10_000),
    "ten-thousand-html-parts": multipart(
        b"Content-Type: text/html\r\n\r\n" + b"<a href='http://x.example/'>z</a>" * 20, 10_000
    ),
    "nested-500": nested(500),
    "rfc822-in-rfc822": b"Content-Type: message/rfc822\r\n\r\n" * 2_000,
    "boundary-inside-lines": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"x--b" * 500_000,
    "empty-boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx',
    "boundary-is-newline": b'Content-Type: multipart/mixed; boundary="\r\n"\r\n\r\n--\r\n\r\nx',
    "base64-bomb": BASE64 + b64encode(b"A" * 3_000_000),
    "base64-broken": BASE64 + b"=====QQ=Q!!\xff\xfe====" * 5_000,
    "qp-broken": PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
    + b"=Z=\r\n==4" * 20_000,
    "lying-utf8": PLAIN + b"\xff\xfe\xc3(\xa0\xa1" * 20_000,
    "lying-utf16": PLAIN.replace(b"utf-8", b"utf-16") + b"abc" * 33_333,
    "charset-punycode": PLAIN.replace(b"utf-8", b"punycode") + b"a-" * 50_000,
    "charset-unknown": PLAIN.replace(b"utf-8", b"x-klingon\x00") + b"hello",
    "charset-not-text": PLAIN.replace(b"utf-8", b"zlib") + b"hello",
    "zero-width": PLAIN + "a\u200b\u200c\u200d\ufeff".encode() * 20_000,
    "mixed-scripts": PLAIN + "a\u0430b\u03b2".encode() * 30_000,
    "bidi": PLAIN + "\u202eabc\u202c".encode() * 20_000,
    "huge-header": b"X-A: " + b"a" * 5_000_000 + b"\r\n\r\nx",
    "many-headers": b"".join(b"X-%d: b\r\n" % n for n in range(100_000)) + b"\r\nx",
    "folded-header": b"Subject: a" + b"\r\n b" * 100_000 + b"\r\n\r\nx",
    "encoded-words": b"Subject: " + b"=?utf-8?q?=41?= " * 50_000 + b"\r\n\r\nx",
    "encoded-words-open": b"Subject: " + b"=?" * 100_000 + b"\r\n\r\nx",
    "encoded-word-base64-broken": b"Subject: =?utf-8?b?QQ?= =?utf-8?b?====?= =?zlib?b?QUFB?=\r\n\r\nx",
    "from-comments": b"From: " + b"((" * 5_000 + b"\r\n\r\nx",
    "from-quotes": b"From: " + b'"<,;(' * 50_000 + b"\r\n\r\nx",
    "from-backslashes": b'From: "' + b"\\" * 100_000 + b"\r\n\r\nx",
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 50_000 + b"\r\n\r\nx",
    "parameters-open": b"Content-Type: multipart/mixed" + b';a="' * 50_000 + b"\r\n\r\nx",
    "less-than": HTML + b"<" * 200_000,
    "tags-never-closed": HTML + b"<a " * 70_000,
    "comments-never-closed": HTML + b"<!--" * 50_000,
    "styles-never-closed": HTML + b"<style>" * 40_000,
    "titles": HTML + b"<title>a</title>" * 20_000,
    "long-tag": HTML + b"<" + b"a" * 200_000,
    "long-href": HTML + b"<a href=" + b"h" * 200_000,
    "attributes": HTML + b"<a " + b"href " * 50_000 + b">",
    "entities": HTML + b"&amp;" * 40_000 + b"&#99999999999;&#xffffffffff;&#0;",
    "entities-open": HTML + b"&" * 200_000,
    "many-links": HTML + b'<a href="http://paypal.a-b-c-d.example.tk/?x">www.x.example</a>' * 3_000,
    "bad-urls": HTML
    + b'<a href="http://[::1">x</a><a href="http://a@b@c:x:y/">x</a><a href="//">x</a>' * 1_000,
    "digits": PLAIN + b"1" * 200_000,
    "spaces": PLAIN + b" " * 200_000,
    "one-word": PLAIN + b"a" * 200_000,
    "spaced-letters": PLAIN + b"a b c d e " * 20_000,
    "money": PLAIN + b"$ 1,000,000.00 " * 15_000,
    "telephone": PLAIN + b"+1 (555) 555-5555 " * 10_000,
    "coin": PLAIN + b"1" + b"B" * 30 + b" bc1" + b"q" * 50_000,
    "urls": PLAIN + b"http://a.example/c " * 20_000,
    "long-url": PLAIN + b"http://" + b"a." * 100_000,
    "addresses": b"Cc: " + b"a@b.example, " * 100_000 + b"\r\n\r\nx",
}
