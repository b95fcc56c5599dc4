"""Freed memory goes back to the system; measured in a process of its own, as it changes the whole of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import re, threading
from gateway import memory

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

def heaps():
    lines = open("/proc/self/maps").read()
    return len(re.findall(r"^[0-9a-f]+000000-[0-9a-f]+ rw-p 00000000 00:00 0 *$", lines, re.MULTILINE))

def bodies():
    kept.extend(bytes(60_000) for _ in range(1000))

memory.share_one_heap()
kept, before = [], heaps()
thread = threading.Thread(target=bodies)
thread.start()
thread.join()
full, own_heap = resident_mib(), heaps() > before
del kept[:-1]  # the last one keeps the heap's top where it is
memory.give_back()
print(own_heap, full - resident_mib())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_what_a_thread_has_freed_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    own_heap, freed_mib = done.stdout.split()
    assert own_heap == "False"
    assert int(freed_mib) > 40
