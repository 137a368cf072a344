"""Starts the programs that the wheel brings; apart from the client, whose libraries they do not wait for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import sys

_PACKAGE = pathlib.Path(__file__).resolve().parent / "diptych"


def diptych() -> None:
    _run("diptych", needs_torch=sys.argv[1:2] in (["serve"], ["bench"]))


def gateway() -> None:
    _run("gateway", needs_torch=False)


def vision_service() -> None:
    _run("vision_service", needs_torch=True)


def language_service() -> None:
    _run("language_service", needs_torch=True)


def _run(name: str, needs_torch: bool) -> None:
    """Becomes the program; exits with 1 and a remedy where it could not run."""
    if needs_torch:
        _find_torch(name)
    program = _PACKAGE / "bin" / name
    called = sys.argv[0] if name == "diptych" else str(program)  # which `diptych serve` tells its users
    os.execv(program, [called, *sys.argv[1:]])


def _find_torch(name: str) -> None:
    """Shows the loader a torch that does not lie beside this package; exits with 1 if there is none that fits."""
    wanted = next((line for line in importlib.metadata.requires("diptych") or () if line.startswith("torch==")), "torch")
    try:
        version = importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        version = None
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations or f"torch=={version}" != re.split(r"[ ;]", wanted)[0]:
        found = f"torch {version} is" if version else "no torch is"
        sys.exit(f"{name}: {found} installed; this was built for {wanted}: pip install '{wanted}'")
    torch = pathlib.Path(next(iter(spec.submodule_search_locations))).resolve()
    if torch.parent != _PACKAGE.parent:
        folders = [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))]
        before = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = ":".join([*map(str, folders), *([before] if before else [])])
