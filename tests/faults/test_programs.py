"""Programs of others that tests start: as scripts/setup.sh --tests unpacks them, or as they are installed."""
import os
import pathlib
import shutil

DEPS = pathlib.Path(__file__).resolve().parents[2] / ".deps"
SYSTEM = DEPS / "system"
LIBRARIES = [str(folder) for folder in (SYSTEM / "usr" / "lib").glob("*-linux-gnu")]


def program(name):
    """Its path, or None."""
    places = (DEPS / "envoy" / "envoy" / "_bin", SYSTEM / "usr" / "sbin", "/usr/sbin", "/usr/bin", "/usr/local/bin")
    return shutil.which(name, path=":".join(map(str, places)))


def environment():
    """In which they find their libraries."""
    return os.environ | {"LD_LIBRARY_PATH": ":".join(LIBRARIES)}


def library(pattern):
    """The path of a shared library below a folder of libraries, or None."""
    return next((path for folder in (*LIBRARIES, "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
                 for path in pathlib.Path(folder).glob(pattern)), None)
