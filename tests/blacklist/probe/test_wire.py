"""DNS messages from strangers: read exactly, or refused; never believed by accident."""

import contextlib
import struct

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blacklist.probe.wire import CNAME, IN, TXT, A, Response, WireError, belongs, encode_name, parse, question


def reply(asked: bytes, *rrsets: str, flags: int = 0) -> bytes:
    """What a real server sends: written by dnspython, compressed."""
    response = dns.message.make_response(dns.message.from_wire(asked))
    response.flags |= flags
    for line in rrsets:
        name, rdtype, *data = line.split(" ", 2)
        response.answer.append(dns.rrset.from_text(name, 60, "IN", rdtype, *data))
    return response.to_wire()


def ask(name="2.0.0.127.bl.example", rdtype=A):
    return question(4711, name, rdtype)


def test_questions_are_what_others_understand():
    message = dns.message.from_wire(ask("Müller".encode("idna").decode() + ".example", TXT))
    assert message.id == 4711
    assert message.flags & dns.flags.RD
    assert str(message.question[0]).endswith("IN TXT")


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..b", ".".join(["a" * 60] * 5), "ü.example", ""])
def test_names_that_dns_cannot_carry(name):
    with pytest.raises(WireError):
        encode_name(name)


def test_addresses_with_aliases_and_compression():
    asked = ask()
    message = reply(asked, "2.0.0.127.bl.example. CNAME x.bl.example.", "x.bl.example. A 127.0.0.2")
    assert parse(message, asked) == Response(0, addresses=("127.0.0.2",), ttl_s=60)


def test_records_of_other_names_do_not_count():
    asked = ask()
    message = reply(asked, "other.bl.example. A 127.0.0.2")
    assert parse(message, asked).addresses == ()


def test_texts():
    asked = ask(rdtype=TXT)
    message = reply(asked, '2.0.0.127.bl.example. TXT "one" "two"')
    assert parse(message, asked).texts == ("onetwo",)


def test_cut_answers_say_so():
    asked = ask()
    assert parse(reply(asked, flags=dns.flags.TC), asked).truncated


def test_an_alias_loop_ends():
    asked = ask("a.example")
    name = encode_name("a.example")
    record = name + struct.pack("!HHIH", CNAME, IN, 60, len(name)) + name
    message = asked[:2] + b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + asked[12:] + record
    with pytest.raises(WireError):
        parse(message, asked)


def test_a_pointer_loop_ends():
    asked = ask("a.example")
    here = len(asked)
    record = struct.pack("!H", 0xC000 | here) + struct.pack("!HHIH", A, IN, 60, 4) + b"\x7f\0\0\2"
    message = asked[:2] + b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + asked[12:] + record
    with pytest.raises(WireError):
        parse(message, asked)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: bytes([m[0] ^ 1]) + m[1:],  # another id
        lambda m: m[:2] + bytes([m[2] & 0x7F]) + m[3:],  # a question, not an answer
        lambda m: m[:13] + b"x" + m[14:],  # another name
        lambda m: m[:10],
        lambda m: b"",
    ],
)
def test_noise_is_not_an_answer(change):
    asked = ask()
    assert belongs(reply(asked), asked)
    assert not belongs(change(reply(asked)), asked)


def test_case_of_the_name_does_not_matter():
    asked = ask("TEST.bl.example")
    assert belongs(reply(ask("test.bl.example")), asked)


@given(st.binary(max_size=600))
def test_no_octets_break_the_reader(data):
    asked = ask()
    for message in (
        data,
        asked[:2] + b"\x80" + data,
        reply(asked, "2.0.0.127.bl.example. A 127.0.0.2")[:-3] + data,
    ):
        belongs(message, asked)
        try:
            found = parse(message, asked)
        except WireError:
            continue
        assert all(len(address.split(".")) == 4 for address in found.addresses)


@given(st.binary(min_size=1, max_size=300), st.integers(0, 60))
def test_damaged_answers_are_refused_or_read_without_a_crash(junk, where):
    asked = ask(rdtype=TXT)
    message = bytearray(reply(asked, '2.0.0.127.bl.example. TXT "reason"'))
    position = min(where, len(message) - 1)
    message[position : position + len(junk)] = junk
    with contextlib.suppress(WireError):
        parse(bytes(message), asked)
