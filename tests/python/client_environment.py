"""Lets a test import the client that was built, with the libraries of one of the folders in .deps/.

    client_environment.enter(BUILD/python, "python_newest")
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def enter(package_folder, libraries):
    """Exits with 77, which ctest counts as skipped, where the libraries are not installed."""
    folder = ROOT / ".deps" / libraries
    if not (folder / "grpc").is_dir():
        print(f"skipped: .deps/{libraries} is not installed; scripts/setup.sh --tests fetches it")
        sys.exit(77)
    sys.path[:0] = [str(package_folder), str(folder), str(ROOT / "tests" / "http")]
