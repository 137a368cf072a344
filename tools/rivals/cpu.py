"""Processor time: of this measurement, and of everything else on the machine meanwhile."""
import glob
import os

_TICK = os.sysconf("SC_CLK_TCK")


def _busy() -> float:
    fields = [int(word) for word in open("/proc/stat", encoding="ascii").readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / _TICK


def _of(pid: int) -> float:
    try:
        text = open(f"/proc/{pid}/stat", encoding="ascii", errors="replace").read()
    except OSError:
        return 0
    fields = text[text.rindex(")") + 2:].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    children = [int(child) for path in glob.glob(f"/proc/{pid}/task/*/children") for child in open(path, encoding="ascii").read().split()]
    return children + [below for child in children for below in descendants(child)]


class Foreign:
    """Seconds that processes other than `pids` and this one ran since it was made."""

    def __init__(self, pids: list[int]):
        self._pids = [*pids, os.getpid()]
        self._busy, self._own = _busy(), self._own_seconds()

    def _own_seconds(self) -> float:
        return sum(_of(pid) for pid in self._pids)

    def seconds(self) -> float:
        return max(0.0, _busy() - self._busy - (self._own_seconds() - self._own))


def available_gigabytes() -> float:
    for line in open("/proc/meminfo", encoding="ascii"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0


def peak_gigabytes(pids: list[int]) -> float:
    """Of resident memory, the processes' peaks added up."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/status", encoding="ascii"):
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024 / 1e9
    return total
