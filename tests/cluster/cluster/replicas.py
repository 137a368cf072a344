"""The pods of the chart's three Deployments, started and stopped by hand, and the names that lead to those that are ready."""
import threading
import time

from . import metrics, paths
from .names import Names
from .pod import Pod
from .sandbox import PodNetwork

import yaml  # the package puts it on the path

NAMESPACE = "diptych"
TIERS = ("vision", "language", "gateway")


class Reports:
    """Stands in for the API server: keeps each pod's last status."""

    def __init__(self):
        self.statuses = {}

    def find(self, _):
        return None

    def patch(self, path, body):
        self.statuses[path.split("/")[-2]] = body["status"]

    def create(self, *_):
        pass

    def delete(self, *_, **__):
        pass


class Replicas:
    """The pods of the three Deployments, and the names that lead to those that are ready."""

    def __init__(self):
        things = yaml.safe_load_all((paths.REPOSITORY / "deploy/kustomize/base/diptych.yaml").read_text(encoding="utf-8"))
        self._templates = {t["metadata"]["labels"]["app.kubernetes.io/component"]: t["spec"]["template"] for t in things if t and t["kind"] == "Deployment"}
        self._reports, self._count, self.pods = Reports(), 0, {tier: [] for tier in TIERS}
        self._lock = threading.Lock()
        self.names = Names(NAMESPACE, lambda service: [pod.network.address for pod in self.ready(service.split("-")[1])])

    def start(self, tier):
        with self._lock:
            self._count += 1
            name, address = f"{tier}-{self._count}", f"10.244.1.{self._count}"
        template = self._templates[tier]
        pod = Pod(self._reports, {"metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "labels": template["metadata"]["labels"]}, "status": {},
                                  "spec": {**template["spec"], "nodeName": "node-a"}}, PodNetwork(f"node-a-{self._count}", address), lambda _: None)
        self.pods[tier].append(pod)
        return pod

    def stop(self, tier, pod):
        """What deleting a pod does: it is no longer listed as ready, and is told to end."""
        self.pods[tier].remove(pod)
        pod.stop(self._templates[tier]["spec"]["terminationGracePeriodSeconds"])

    def is_ready(self, pod):
        conditions = self._reports.statuses.get(pod.name, {}).get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def ready(self, tier):
        return [pod for pod in list(self.pods.get(tier, [])) if self.is_ready(pod)]

    def wait_until_ready(self, pod, seconds=90):
        end = time.monotonic() + seconds
        while not self.is_ready(pod):
            assert time.monotonic() < end, f"{pod.name} is not ready: {self._reports.statuses.get(pod.name)}"
            time.sleep(0.1)

    def replace(self, tier):
        """A rolling update with maxSurge 1 and maxUnavailable 0."""
        for old in list(self.pods[tier]):
            self.wait_until_ready(self.start(tier))
            self.stop(tier, old)


def answered(pod, timeout=10):
    """How many calls of the pod have ended. Raises OSError if it does not answer."""
    return metrics.answered(pod.network.address, pod.name.split("-")[0], timeout)
