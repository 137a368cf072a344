"""Renders and lints the chart with Helm's own library, in this process, for tests.

`python3 tests/deploy/chart.py` prints what deploy/kustomize/base/diptych.yaml has to be.
"""
import functools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "diptych"
VALUES = ROOT / "tests" / "deploy" / "values"
BASE = ROOT / "deploy" / "kustomize" / "base" / "diptych.yaml"
KUBERNETES = "1.36"  # whose schemas judge
PACKAGES = ROOT / ".deps" / "cluster" / "python"
sys.path.insert(0, str(PACKAGES))


def is_possible():
    """Whether the packages are there, which tests/cluster/setup.sh fetches."""
    return (PACKAGES / "helm_python").exists()


def merge(values, further):
    for name, value in further.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            merge(values[name], value)
        else:
            values[name] = value


def _values(file, settings):
    import helm_python  # pylint: disable=import-outside-toplevel
    import yaml  # pylint: disable=import-outside-toplevel
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    for setting in settings:
        merge(values, helm_python.parse_set_string(setting))
    return values


@functools.cache
def _loaded():
    import helm_python  # pylint: disable=import-outside-toplevel
    return helm_python.Chart.load(CHART)


def template(file=None, *settings, tests=True, name="diptych", namespace="diptych"):
    """What helm renders as text, with the values of a file and settings as NAME=VALUE. Raises helm_python.HelmError with helm's words."""
    return template_of(_values(file, settings), tests, name, namespace)


def template_of(values, tests=True, name="diptych", namespace="diptych"):
    """The same with these values."""
    chart = _loaded()
    chart.validate_schema(values)
    rendered = chart.render(values, name=name, namespace=namespace)
    pieces = [(source, piece.strip()) for source, text in sorted(rendered.items()) for piece in re.split(r"^---$", text, flags=re.MULTILINE)]
    return "".join(f"---\n# Source: {source}\n{piece}\n" for source, piece in pieces
                   if piece and source.endswith(".yaml") and (tests or "/tests/" not in source))


def notes(*settings):
    """What helm says after an installation."""
    rendered = _loaded().render(_values(None, settings), name="diptych", namespace="team")
    return next(text for source, text in rendered.items() if source.endswith("NOTES.txt"))


def lint(file=None):
    """Helm's findings that are more than information."""
    import helm_python  # pylint: disable=import-outside-toplevel
    found = helm_python.lint(CHART, _values(file, ()), strict=True)
    return [message for message in found["messages"] if message["severity"] > 1] + found["errors"]


def objects(text):
    """The objects of a rendered chart. Raises if a key stands twice in a mapping, as the API server does."""
    import yaml  # pylint: disable=import-outside-toplevel

    class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {keys}{node.start_mark}"
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    return [thing for thing in yaml.load_all(text, Loader=Strict) if thing]


def validate(thing):
    """Raises with the words of Kubernetes' own schema if it does not take an object, or does not know a field of it."""
    import kubernetes_validate  # pylint: disable=import-outside-toplevel
    from kubernetes_validate import utils  # pylint: disable=import-outside-toplevel
    if not hasattr(utils.schema_contents, "cache_info"):
        utils.schema_contents = functools.cache(utils.schema_contents)  # it reads megabytes for each object
    kubernetes_validate.validate(thing, KUBERNETES, strict=True)


def containers(things):
    """Each container of each pod template, as (object, container)."""
    for thing in things:
        spec = thing["spec"]["template"]["spec"] if thing["kind"] == "Deployment" else thing["spec"] if thing["kind"] == "Pod" else {}
        for container in spec.get("initContainers", []) + spec.get("containers", []):
            yield thing, container


if __name__ == "__main__":
    sys.stdout.write(template(tests=False))
