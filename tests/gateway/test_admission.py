"""Mail is refused for now while the disk is nearly full, and taken again when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.admission import LOOK_EVERY_S, Admission, measured
from gateway.rules.admission import RESERVE_BYTES, Space, is_short, reserve_bytes

MIB = 1024 * 1024
GIB = 1024 * MIB

SHORT = [
    (Space(100 * GIB, 200 * GIB), 50 * MIB, False),
    (Space(RESERVE_BYTES, 200 * GIB), 0, False),
    (Space(RESERVE_BYTES - 1, 200 * GIB), 0, True),
    (Space(RESERVE_BYTES + 99 * MIB, 200 * GIB), 50 * MIB, True),  # it is written twice
    (Space(6 * MIB, 100 * MIB), 0, False),  # 5 % of a small disk
    (Space(4 * MIB, 100 * MIB), 0, True),
    (Space(0, 0), 0, False),  # a file system that does not tell
]


@pytest.mark.parametrize(("space", "size_bytes", "expected"), SHORT)
def test_what_is_kept_free(space: Space, size_bytes: int, expected: bool) -> None:
    assert is_short(space, size_bytes) is expected


def test_the_reserve_is_bounded() -> None:
    assert (reserve_bytes(100 * MIB), reserve_bytes(200 * GIB)) == (5 * MIB, RESERVE_BYTES)


class Disk:
    def __init__(self, path: Path) -> None:
        self.clock, self.free, self.looks = 100.0, 50 * GIB, 0
        self.admission = Admission([path, path / "spool"], lambda: self.clock, self.measure)

    def measure(self, place: Path) -> Space:
        self.looks += 1
        return Space(self.free, 100 * GIB)

    def reply(self, size_bytes: int = 0) -> str:
        refused = self.admission.check(size_bytes)
        return str(refused.reply) if refused else ""


def test_mail_is_put_off_while_the_disk_is_full(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert disk.reply() == ""
    disk.clock, disk.free = disk.clock + LOOK_EVERY_S, 1 * MIB
    assert (disk.reply(), disk.admission.is_full) == ("452 4.3.1 Not enough space, try again later", True)
    disk.clock, disk.free = disk.clock + LOOK_EVERY_S, 50 * GIB
    assert (disk.reply(), disk.admission.is_full) == ("", False)


def test_only_the_message_that_is_too_big_for_the_rest_is_put_off(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.free = RESERVE_BYTES + 10 * MIB
    assert disk.reply(20 * MIB).startswith("452")
    assert (disk.reply(1 * MIB), disk.admission.is_full) == ("", False)


def test_the_disk_is_asked_once_a_second_and_a_missing_spool_not_at_all(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for _ in range(50):
        disk.reply()
    assert disk.looks == 1
    disk.clock += LOOK_EVERY_S
    disk.reply()
    assert disk.looks == 2


def test_a_real_file_system_tells(tmp_path: Path) -> None:
    space = measured(tmp_path)
    assert 0 < space.free_bytes <= space.total_bytes
