"""What compiler and linker put into each binary so that a fault of memory is harder to use.

Usage: hardening_test.py FOLDER_OF_BINARIES; run by ctest as `hardening_test`.
"""
import pathlib
import platform
import re
import subprocess
import sys

BINARIES = ("gateway", "vision_service", "language_service", "diptych")

ENDBR64 = b"\xf3\x0f\x1e\xfa"
PROBE = b"\x48\x83\x0c\x24\x00"  # or $0, (%rsp)


def read(binary, *options):
    return subprocess.run(["readelf", "-W", *options, binary], capture_output=True, text=True, check=True).stdout


def errors_of(binary):
    segments, dynamic = read(binary, "--program-headers"), read(binary, "--dynamic")
    symbols = read(binary, "--dyn-syms")
    checks = {"is not position-independent": "(Position-Independent Executable" in read(binary, "--file-header") or "DYN (" in segments,
              "has no read-only relocations (RELRO)": "GNU_RELRO" in segments,
              "binds symbols late, so their table stays writable": re.search(r"FLAGS.*\b(BIND_)?NOW\b", dynamic),
              "has an executable stack": re.search(r"GNU_STACK.* RW +0x", segments),
              "has memory that is writable and executable": not re.search(r"LOAD .* RWE ", segments),
              "relocates its code": "TEXTREL" not in dynamic,
              "has no stack protector": "__stack_chk_fail" in symbols,
              "has no checked functions (FORTIFY)": re.search(r"\b__(?!stack)\w+_chk\b", symbols)}
    if platform.machine() == "x86_64":  # The start files of Debian's C library have no mark of CET, so the whole binary has none.
        code = binary.read_bytes()
        checks["does not mark where indirect branches may go (CET)"] = code.count(ENDBR64) > 1000
        checks["does not probe large stack frames page by page"] = PROBE in code
    return [f"{binary.name} {fault}" for fault, holds in checks.items() if not holds]


def main():
    errors = [error for name in BINARIES for error in errors_of(pathlib.Path(sys.argv[1]) / name)]
    print("\n".join(errors) or "every binary is hardened")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
