"""Every leaf of values.schema.json: another value that fits renders what Kubernetes takes, and changes something; one that does not fit is refused
by its name.

Run by ctest as `chart_leaves_test`. Skipped (77) without Helm's library, which tests/cluster/setup.sh fetches.
"""
import copy
import functools
import json
import re
import sys
import unittest

import chart

SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
EXTENSIONS = {"BackendTLSPolicy", "Certificate", "GRPCRoute", "HTTPRoute", "InferencePool", "PodMonitor", "PrometheusRule", "ScaledObject"}
# Another value of what a definition, or a leaf by its path, takes.
OTHERS = {
    "annotations": [{"example.com/other": "x"}], "arguments": [["--other=1"]], "bytes": ["3GiB", 123456789], "duration": ["1h", "2m30s"], "env": [[{"name": "OTHER", "value": "x"}]],
    "hostname": ["other.example.com"], "imageName": ["other:1"], "labels": [{"other": "x"}], "name": ["other"], "port": [12345], "quantity": ["3", 5, "750m"],
    "/nameOverride": ["other"], "/fullnameOverride": ["other"], "/image/registry": ["other.example.com:5000/team"], "/image/tag": ["other"], "/model/name": ["other-model"],
    "/model/image/folder": ["/other"], "/model/claim/subPath": ["other"], "/model/oci/reference": ["other.example.com/model:1"], "/model/pull/id": ["other/model@main"],
    "/model/pull/size": ["3Gi"], "/gateway/httpHosts": [["other.example.com"], ["*"]], "/gateway/flags/cors_origins": ["https://other.example.com"],
    "/gateway/flags/served_model_name": ["other"], "/autoscaling/keda/prometheus": ["https://other.example.com"], "/tracing/endpoint": ["other:4317"],
    "/apiKeys/key": ["other.json"], "/tls/certManager/issuer/kind": ["ClusterIssuer"], "/tls/certManager/issuer/group": ["other.example.com"],
    "/podSecurityContext": [{"runAsUser": 1000}], "key": ["other"],
    "/language/flags/max_batch": [1, 24], "/language/flags/max_batched_tokens": [64, 1000000], "busyRatio": ["750m", 0.5], "kvUsageRatio": ["750m", 0.5], "/vision/flags/max_image_bytes": ["3MiB", 123456789], "/language/flags/max_image_bytes": ["3MiB", 123456789],
    "/gateway/flags/max_image_bytes": ["3MiB", 123456789], "requests": [{"cpu": "2", "memory": "1.5Gi"}], "limits": [{"memory": "3.5Gi"}], "claims": [[{"name": "other"}]], "affinity": [{"nodeAffinity": {}}], "nodeSelector": [{"other": "x"}], "tolerations": [[{"operator": "Exists"}]],
    "callers": [[{"podSelector": {}}]], "egress": [[{"ports": [{"port": 3128}]}]], "parentRefs": [[{"name": "other"}]], "grpcParentRefs": [[{"name": "other"}]],
    "/gateway/flags/affinity": ["none"], "/language/flags/affinity": ["none"], "maxUnavailable": [3, "30%"], "maxSurge": [3, "30%"], "pullSecrets": [["other"]], "hostnames": [["other.example.com"]], "grpcHostnames": [["other.example.com"]],
    "policies": [[{"type": "Pods", "value": 3, "periodSeconds": 45}]], "tolerance": ["0.3"],
}
BASES = {
    "": {},
    "/model/name": {"model": {"source": "claim", "claim": {"name": "checkpoints"}}},
    "/model/claim": {"model": {"source": "claim", "claim": {"name": "checkpoints"}}},
    "/model/oci": {"model": {"source": "oci", "oci": {"reference": "r.example.com/model:1"}}},
    "/model/pull": {"model": {"source": "pull", "pull": {"id": "a/b", "tokenSecret": {"name": "hub"}}}},
    "/model/pull/claim": {"model": {"source": "pull", "pull": {"id": "a/b"}}},
    "/autoscaling/keda": {"autoscaling": {"engine": "keda"}},
    "/tls/certManager": {"tls": {"certManager": {"enabled": True, "issuer": {"name": "internal"}}}},
    "/routes": {"tls": {"enabled": True}},
    "/image/cuda": {"vision": {"device": "cuda"}},
    "/vision/flags/cuda_graphs": {"vision": {"device": "cuda"}},
    "/language/flags/cuda_graphs": {"language": {"device": "cuda"}},
    "/vision/autoscaling/minReplicas": {"autoscaling": {"hpaScaleToZero": True}, "vision": {"autoscaling": {"maxReplicas": 10000}}},
    "/gateway/autoscaling/minReplicas": {"gateway": {"autoscaling": {"maxReplicas": 10000}}},
    "/language/autoscaling/minReplicas": {"language": {"autoscaling": {"maxReplicas": 10000}}},
    "/gateway/autoscaling/maxReplicas": {"gateway": {"autoscaling": {"minReplicas": 1}}},
}
# Options that a value needs as well.
NEEDS = {
    ("/model/source", "claim"): BASES["/model/claim"], ("/model/source", "oci"): BASES["/model/oci"], ("/model/source", "pull"): BASES["/model/pull"],
    ("/tls/enabled", False): {"tls": {"clientCa": False}}, ("/tls/certManager/enabled", True): BASES["/tls/certManager"],
    ("/maxConnectionAge", "1h"): {"drain": {"delay": "2h"}}, ("/maxConnectionAge", "2m30s"): {"drain": {"delay": "2h"}},
}
# What may change nothing: helm keeps it for subcharts; an autoscaled tier has no replicas of its own; it is what is set already, in other words.
SILENT = {"/global", "/autoscaling/hpaScaleToZero"}
# All on, so that every leaf counts.
ON = {"image": {"registry": ""}, "apiKeys": {"secretName": "keys", "testSecret": {"name": "test-key"}}, "tls": {"enabled": True}, "tracing": {"endpoint": "collector:4317"},
      "routes": {"enabled": True, "parentRefs": [{"name": "edge"}], "hostnames": ["a.example.com"], "grpcHostnames": ["b.example.com"], "backendTls": {"caConfigMap": "edge-ca"}},
      "inferencePool": {"enabled": True, "endpointPicker": {"name": "picker"}},
      "metrics": {name: {"enabled": True} for name in ("podMonitor", "rules", "dashboard")}}
SCALED = {tier: {"autoscaling": {"enabled": True}} for tier in ("gateway", "vision", "language")}


def resolved(node):
    name = node.get("$ref", "").rpartition("/")[2]
    return (name, SCHEMA["definitions"][name]) if name else ("", node)


def leaves(node, path="", name=""):
    """(path, name of its definition, its schema) of all that takes a value."""
    name, node = resolved(node) if "$ref" in node else (name, node)
    if "properties" in node and "anyOf" not in node:
        for key, value in node["properties"].items():
            yield from leaves(value, f"{path}/{key}")
    else:
        yield path, name, node


LEAVES = list(leaves(SCHEMA))


@functools.cache
def defaults():
    import yaml  # pylint: disable=import-outside-toplevel
    return yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))


def at(values, path):
    for key in path.split("/")[1:]:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def nested(path, value):
    for key in reversed(path.split("/")[1:]):
        value = {key: value}
    return value


def merged(*parts):
    values = {}
    for part in parts:
        chart.merge(values, copy.deepcopy(part))
    return values


def base_of(path):
    """What has to be on for the leaf to count."""
    nearest = max((prefix for prefix in BASES if path.startswith(prefix)), key=len)
    scaled = SCALED if "autoscaling/" in path and not path.endswith("autoscaling/enabled") else {}
    return merged(ON, scaled, BASES[nearest])


def alternatives(name, node):
    for one in node.get("anyOf", [node]):
        yield resolved(one) if "$ref" in one else (name, one)


def others(path, name, node):
    """Values that fit and are not the default."""
    found = []
    for key in (path, path.rpartition("/")[2], name, *[name for name, _ in alternatives(name, node)]):
        found = found or OTHERS.get(key, [])
    now = at(merged(defaults(), base_of(path)), path)
    if not found and "enum" in node:
        found = node["enum"]
    elif not found and node.get("type") == "boolean":
        found = [True, False] if now is None else [not now]
    elif not found and node.get("type") in ("integer", "number"):
        most = node.get("maximum", 10**6)
        found = [node.get("minimum", min((now or 0) + 1, most)), most]
    return [value for value in found if value != now]


def misfits(node):
    """Values that do not fit."""
    kinds = set()
    for _, one in alternatives("", node):
        kind = one.get("type", "string")
        kinds |= set(kind if isinstance(kind, list) else [kind])
    wrong = {"string": "no such thing ☃", "integer": 1.5, "boolean": True, "array": ["☃", 7], "object": {"☃": {"x": []}}}
    if "string" not in kinds or "enum" in node or "pattern" in node or len(kinds) > 1:
        yield wrong["string"]
    for kind in ("boolean", "array", "object"):
        if kind not in kinds:
            yield wrong[kind]
    if "minimum" in node:
        yield node["minimum"] - 1
    if "maximum" in node:
        yield node["maximum"] + 1
    if "integer" in kinds and "number" not in kinds:
        yield wrong["integer"]


def render(base, *parts):
    """The text of each object."""
    return chart.template_of(merged(base, *parts)).split("\n---\n")


class EveryLeafTest(unittest.TestCase):
    def test_there_are_leaves(self):
        self.assertGreater(len(LEAVES), 200)
        known = {path for path, _, _ in LEAVES}
        self.assertEqual([path for path in BASES if path and not any(leaf.startswith(path) for leaf in known)], [])

    def needs(self, path, value):
        return NEEDS.get((path, value), {}) if isinstance(value, (str, bool)) else {}

    def test_another_value_renders_and_counts(self):
        rendered = functools.cache(lambda base: set(render(json.loads(base))))
        new = set()
        for path, name, node in LEAVES:
            values, base = others(path, name, node), base_of(path)
            if path not in SILENT:
                self.assertTrue(values, f"{path} has no other value here: give one")
            for value in values if path not in SILENT else []:
                with self.subTest(path=path, value=value):
                    before, after = rendered(json.dumps(base)), set(render(base, self.needs(path, value), nested(path, value)))
                    self.assertNotEqual(before, after, "changes nothing")
                    new |= after - before
        for thing in (thing for text in new for thing in chart.objects(text) if thing["kind"] not in EXTENSIONS):
            chart.validate(thing)

    def test_what_does_not_fit_is_refused_by_its_name(self):
        """All leaves at once, with the first misfit of each, then with the second, and so on."""
        import helm_python  # pylint: disable=import-outside-toplevel
        bad = {path: list(misfits(node)) for path, _, node in LEAVES if path != "/global"}
        self.assertTrue(all(bad.values()))
        with helm_python.Chart.load(chart.CHART) as loaded:
            for turn in range(max(map(len, bad.values()))):
                given = {path: values[turn] for path, values in bad.items() if turn < len(values)}
                with self.assertRaises(helm_python.HelmError) as caught:
                    loaded.validate_schema(merged(*(nested(path, value) for path, value in given.items())))
                named = set(re.findall(r"at '(/[^']*)'", str(caught.exception)))
                for path, value in given.items():
                    with self.subTest(path=path, value=value):
                        self.assertTrue(any(name == path or name.startswith(f"{path}/") for name in named))


if __name__ == "__main__":
    if not chart.is_possible():
        print("skipped: Helm's library is not there; tests/cluster/setup.sh fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[1:])
