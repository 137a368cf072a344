"""A cgroup that caps the memory of processes, version 1 or 2 of the kernel's interface. Wants root."""
import os
import pathlib
import time

V1, V2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")


class MemoryCap:
    """Holds processes that call enter() to `limit` bytes; raises OSError where no such group can be made."""

    def __init__(self, limit):
        self._v1 = V1.is_dir()
        self._path = (V1 if self._v1 else V2) / f"diptych_test_{os.getpid()}_{time.monotonic_ns()}"
        self._path.mkdir()
        self._file("memory.limit_in_bytes", "memory.max").write_text(str(limit))

    def enter(self):
        """For subprocess' preexec_fn."""
        (self._path / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self):
        return int(self._file("memory.max_usage_in_bytes", "memory.peak").read_text())

    def remove(self):
        """Once its processes have ended."""
        self._path.rmdir()

    def _file(self, first, second):
        return self._path / (first if self._v1 else second)
