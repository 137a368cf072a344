"""Renders the chart, for tests: where helm is, and what it makes of which values."""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".deps" / "cluster" / "bin"
CHART = ROOT / "deploy" / "helm" / "diptych"
VALUES = ROOT / "tests" / "deploy" / "values"
BASE = ROOT / "deploy" / "kustomize" / "base" / "diptych.yaml"
sys.path.insert(0, str(ROOT / ".deps" / "cluster" / "python"))


def tool(name):
    """The program's path, or None: tests/cluster/build_tools.sh --chart fetches it."""
    own = TOOLS / name
    return str(own) if own.exists() else shutil.which(name)


def helm(*arguments):
    return subprocess.run([tool("helm"), *[str(a) for a in arguments]], text=True, capture_output=True, check=False)


def template(*arguments):
    """What helm renders, as text; with `--values FILE`, `--set NAME=VALUE`. Raises AssertionError with helm's words."""
    done = helm("template", "diptych", CHART, "--namespace", "diptych", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    """The objects of a rendered chart."""
    import yaml  # pylint: disable=import-outside-toplevel
    return [thing for thing in yaml.safe_load_all(text) if thing]


def containers(things):
    """Each container of each pod template, as (object, container)."""
    for thing in things:
        spec = thing["spec"]["template"]["spec"] if thing["kind"] == "Deployment" else thing["spec"] if thing["kind"] == "Pod" else {}
        for container in spec.get("initContainers", []) + spec.get("containers", []):
            yield thing, container
