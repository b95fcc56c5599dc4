"""What measurements share: processor time and memory by process, a sink that counts, percentiles."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.services import find_binary, free_port

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def tree_of(pid: int) -> list[int]:
    """A process and all that descend from it, threads' children included."""
    found = [pid]
    for task in _tasks(pid):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            found.extend(tree_of(int(child)))
    return found


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def cpu_ms(pids: Iterable[int]) -> float:
    """Processor time of processes so far, with that of their ended children."""
    return sum(_ticks(pid) for pid in pids) * 1000 / TICKS


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(
        int(fields[position]) for position in (11, 12, 13, 14)
    )  # user, system, and of children waited for


def rss_mib(pid: int) -> float:
    return _status_kib(pid, "VmRSS") / 1024


def peak_mib(pid: int) -> float:
    return _status_kib(pid, "VmHWM") / 1024


def pss_mib(pids: Iterable[int]) -> float:
    """Proportional set size: shared pages are counted once over all sharers."""
    return sum(_rollup_kib(pid) for pid in pids) / 1024


def _status_kib(pid: int, name: str) -> int:
    try:
        found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def _rollup_kib(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


@dataclass
class Sink:
    """Postfix's smtp-sink, which takes everything and counts; `count` is what it has taken so far."""

    port: int = 0
    count: int = 0
    process: subprocess.Popen[bytes] | None = None
    _master: int = -1

    def __enter__(self) -> Self:
        self.port = free_port()
        binary = find_binary("smtp-sink") or "smtp-sink"
        as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._master, slave = pty.openpty()  # it writes its counters unbuffered to a terminal only
        command = [binary, *as_nobody, "-c", f"127.0.0.1:{self.port}", "1000"]
        self.process = subprocess.Popen(
            command, stdout=slave, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            found = re.findall(rb"mesg=(\d+)", data)
            if found:
                self.count = int(found[-1])

    def wait_for(self, count: int, timeout_s: float, quiet_s: float = 10.0) -> bool:
        """Until so many have come in all; False when nothing has come for `quiet_s` or the time is over."""
        end, last, seen = time.monotonic() + timeout_s, time.monotonic(), self.count
        while self.count < count:
            if self.count != seen:
                last, seen = time.monotonic(), self.count
            if time.monotonic() > end or time.monotonic() - last > quiet_s:
                return False
            time.sleep(0.005)
        return True


def need(*names: str) -> str:
    """'' when all programs are installed, else which is missing."""
    missing = [name for name in names if find_binary(name) is None and shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""
