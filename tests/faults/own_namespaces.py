"""A test in network and mount namespaces of its own, so that what it does to packets and file systems ends with it."""
import ctypes
import os
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


def enter():
    """Runs the program again inside; returns there. Exits with 77, saying why, where that is not allowed."""
    if os.environ.get("DIPTYCH_OWN_NAMESPACES"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        print(f"skipped: namespaces want root ({os.strerror(ctypes.get_errno())})")
        sys.exit(77)
    os.environ["DIPTYCH_OWN_NAMESPACES"] = "1"
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def seal():
    """From now on this process can write to no file system: for subprocess' preexec_fn."""
    ctypes.CDLL(None).unshare(CLONE_NEWNS)
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        places = [line.split()[1] for line in mounts]
    for place in places:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], stderr=subprocess.DEVNULL, check=False)
