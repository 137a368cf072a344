#!/usr/bin/env python3
"""The shared libraries that each binary names, and what none of them may bring along.

    libraries_test.py build/release/bin
"""
import pathlib
import re
import subprocess
import sys

SYSTEM = {"libstdc++", "libm", "libgcc_s", "libc", "ld-linux-x86-64", "ld-linux-aarch64", "libpthread", "libdl", "librt", "libatomic"}
WIRE = {"libgrpc", "libgrpc++", "libgrpc++_reflection", "libgpr", "libaddress_sorting", "libupb", "libprotobuf", "libcrypto", "libssl"}
COMMON = SYSTEM | WIRE | {"libspdlog", "libfmt", "libprometheus-cpp-core", "libz", "libre2", "libcares"}
IMAGES = {"libjpeg", "libpng16", "libwebp", "libwebpdemux", "libopencv_core"}
TIER = COMMON | IMAGES | {"libtorch_cpu", "libtorch", "libc10", "libhwy", "libpcre2-8", "libgomp", "libomp"}
ALLOWED = {
    "gateway": COMMON | {"libcurl", "libpcre2-8"},
    "vision_service": TIER,
    "language_service": TIER,
    "diptych": COMMON | {"libpng16", "libcurl", "libedit", "libreplxx", "libreadline"},
}
# Parsers of formats that nobody here serves: bytes of callers must never reach them.
UNWANTED = re.compile(
    r"lib(gdal|gdcm\w*|hdf5\w*|netcdf|xerces\w*|spatialite|x265|x264|aom|dav1d|heif|avif|tiff|OpenEXR\w*|Iex\w*|openjp2|poppler"
    r"|geotiff|proj|sqlite3|mysqlclient|mariadb\w*|odbc\w*|pq|kml\w*|icu\w*|opencv_imgcodecs|opencv_imgproc|gif|raw)\b")


def stem(soname):
    return soname.partition(".so")[0]


def needed(binary):
    text = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    return {stem(name) for name in re.findall(r"\(NEEDED\).*\[(.*)\]", text)}


def loaded(binary):
    text = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    return {stem(line.split()[0].rpartition("/")[2]) for line in text.splitlines() if line.strip()}


def errors_of(folder):
    for name, allowed in ALLOWED.items():
        for library in sorted(needed(folder / name) - allowed):
            if not library.startswith("libabsl_"):
                yield f"{name} names {library}, which is not among its libraries (tests/libraries_test.py)"
        for library in sorted(loaded(folder / name)):
            if UNWANTED.fullmatch(library):
                yield f"{name} loads {library}, a parser of formats that it does not serve"


def main():
    errors = list(errors_of(pathlib.Path(sys.argv[1])))
    print("\n".join(errors) or "every binary loads what it may")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
