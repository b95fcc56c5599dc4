"""Two verifiers that know nothing of our signer: dkimpy's own and Perl's Mail::DKIM (Debian libmail-dkim-perl)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

import dkim
import pytest

# Reads '<length>\n<message>' again and again, writes one line each: the result and why. The key comes from argv.
PERL = r"""
use strict; use warnings;
use Mail::DKIM::Verifier; use Mail::DKIM::PublicKey;
my $record = shift @ARGV;
{ no warnings 'redefine';
  *Mail::DKIM::PublicKey::fetch_async = sub {
    my ($class, %prms) = @_;
    my $key = $class->parse($record);
    $key->{Selector} = $prms{Selector}; $key->{Domain} = $prms{Domain};
    $key->check;
    my $done = $prms{Callbacks}{Success} || sub { $_[0] };
    return sub { $done->($key) };
  };
}
binmode STDIN; $| = 1;
while (my $length = <STDIN>) {
  chomp $length;
  read(STDIN, my $message, $length) == $length or die 'short read';
  my $verifier = Mail::DKIM::Verifier->new();
  $verifier->PRINT($message); $verifier->CLOSE;
  print $verifier->result_detail, "\n";
}
"""


def require_mail_dkim() -> None:
    """Skips the test without Mail::DKIM, or fails it where real parts are required."""
    perl = shutil.which("perl")
    if perl and subprocess.run([perl, "-MMail::DKIM::Verifier", "-e1"], capture_output=True).returncode == 0:
        return
    message = "Mail::DKIM is not installed (Debian: libmail-dkim-perl)"
    if os.environ.get("SMG_TEST_SERVICES") == "required":
        pytest.fail(message)
    pytest.skip(message)


def mail_dkim_results(messages: Sequence[bytes], record: str) -> list[str]:
    """What Mail::DKIM says of each message: 'pass', or 'fail (why)', 'invalid (why)', 'none'."""
    stream = b"".join(b"%d\n%b" % (len(message), message) for message in messages)
    done = subprocess.run(["perl", "-e", PERL, record], input=stream, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def dkimpy_accepts(message: bytes, record: str) -> bool:
    return dkim.verify(message, dnsfunc=lambda name, timeout=5: record.encode())
