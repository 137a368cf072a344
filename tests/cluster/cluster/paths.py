"""Where the repository, the packages of setup.sh and the files of a run are."""
import os
import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
PYTHON = REPOSITORY / ".deps" / "cluster" / "python"
TOOLS = REPOSITORY / ".deps" / "cluster" / "bin"
DEBIAN = REPOSITORY / ".deps" / "cluster" / "debian" / "usr" / "bin"
DEFINITIONS = REPOSITORY / ".deps" / "cluster" / "definitions"
BINARIES = pathlib.Path(os.environ.get("DIPTYCH_BIN", REPOSITORY / "build" / "release" / "bin"))
CHART = REPOSITORY / "deploy" / "helm" / "diptych"
RUN = pathlib.Path(os.environ.get("DIPTYCH_CLUSTER_RUN", "/tmp/diptych-cluster"))

sys.path.insert(0, str(PYTHON))


def made(path):
    """The folder `path`, made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path
