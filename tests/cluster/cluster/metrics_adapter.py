"""The cluster's custom and external metrics API, answered from Prometheus, as prometheus-adapter does it: `python3 -m cluster.metrics_adapter`.

Pods' metrics have the names that the pods show. External ones follow the rules for prometheus-adapter that docs/deploy.md gives.
"""
import datetime
import http.server
import json
import re
import ssl
import urllib.parse
import urllib.request

from . import certificates, control_plane, paths
from .api import Api

import yaml  # the package puts it on the path

CUSTOM, EXTERNAL = "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"
PODS_METRICS = ("diptych_requests_waiting", "diptych_requests_running", "diptych_vision_busy_ratio", "diptych_kv_cache_usage_ratio")


def external_rules():
    """The query of each external metric by its name, with {labels} to be filled in."""
    page = (paths.REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(rules:\n  external:\n.*?)```", page, re.DOTALL)[1]
    return {rule["name"]["as"]: rule["metricsQuery"].replace("<<.Series>>", rule["seriesQuery"].partition("{")[0])
            for rule in yaml.safe_load(block)["rules"]["external"]}


def query(expression):
    """What Prometheus knows now: (labels, value) of each series."""
    address = f"http://{control_plane.PROMETHEUS}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=5) as page:
        return [(series["metric"], float(series["value"][1])) for series in json.load(page)["data"]["result"]]


def _now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quantity(value):
    return f"{round(1000 * value)}m"


class Adapter:
    def __init__(self):
        self._api, self._rules = Api(), external_rules()

    def resources(self, group):
        names = [f"pods/{name}" for name in PODS_METRICS] if group == CUSTOM else list(self._rules)
        kind = "MetricValueList" if group == CUSTOM else "ExternalMetricValueList"
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group,
                "resources": [{"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]} for name in names]}

    def of_pods(self, namespace, metric, selector):
        """The values of the pods that Prometheus has read."""
        names = {pod["status"].get("podIP"): pod["metadata"]["name"] for pod in self._api.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)}
        items = [{"describedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": names[address]}, "metric": {"name": metric},
                  "timestamp": _now(), "value": _quantity(value)}
                 for labels, value in query(f'{metric}{{namespace="{namespace}"}}') if (address := labels["instance"].rpartition(":")[0]) in names]
        return {"kind": "MetricValueList", "apiVersion": CUSTOM, "metadata": {}, "items": items}

    def external(self, namespace, metric):
        found = query(self._rules[metric].replace("<<.LabelMatchers>>", f'namespace="{namespace}"'))
        return {"kind": "ExternalMetricValueList", "apiVersion": EXTERNAL, "metadata": {},
                "items": [{"metricName": metric, "metricLabels": {}, "timestamp": _now(), "value": _quantity(value)} for _, value in found]}

    def answer(self, target):
        """What is at a path of the API, or None."""
        address = urllib.parse.urlparse(target)
        parts = urllib.parse.unquote(address.path).strip("/").split("/")
        group = "/".join(parts[1:3])
        if group not in (CUSTOM, EXTERNAL):
            return None
        if len(parts) == 3:
            return self.resources(group)
        if group == CUSTOM and len(parts) == 8 and parts[5:7] == ["pods", "*"]:  # apis GROUP VERSION namespaces NAMESPACE pods * METRIC
            return self.of_pods(parts[4], parts[7], urllib.parse.parse_qs(address.query).get("labelSelector", [""])[0])
        return self.external(parts[4], parts[5]) if group == EXTERNAL and len(parts) == 6 and parts[5] in self._rules else None


def main():
    adapter = Adapter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # pylint: disable=invalid-name
            answer = adapter.answer(self.path)
            content = json.dumps(answer or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "message": f"no metric at {self.path}"}).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", control_plane.METRICS_PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.FOLDER / "server.crt", certificates.FOLDER / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
