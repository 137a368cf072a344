"""Replicas that come and go as the manifests say: real processes, started, probed and stopped as Kubernetes does it, under load.

Takes the pods from deploy/kustomize/base. Run by `make rollout-test`, in namespaces of its own (in_namespaces.sh).
"""
import random
import re
import subprocess
import threading
import time
import unittest
import urllib.request

from cluster import callers, network, paths
from cluster.names import Names
from cluster.pod import Pod
from cluster.sandbox import PodNetwork

import yaml  # the package puts it on the path

NAMESPACE = "diptych"
TIERS = ("vision", "language", "gateway")
QUESTION = "What color is the circle?"
DRAIN = 50  # seconds that a pod takes to end, with the chart's drain.delay
SOON = 12  # seconds after which a new replica has its share: connections live for ten, and a little more or less


class Reports:
    """Stands in for the API server: keeps each pod's last status."""

    def __init__(self):
        self.statuses = {}

    def find(self, _):
        return None

    def patch(self, path, body):
        self.statuses[path.split("/")[-2]] = body["status"]

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


def answered(pod):
    """How many calls of the pod have ended."""
    tier = pod.name.split("-")[0]
    port = {"gateway": 9000, "vision": 9001, "language": 9002}[tier]
    with urllib.request.urlopen(f"http://{pod.network.address}:{port}/metrics", timeout=10) as page:
        return sum(float(value) for value in re.findall(r"^diptych_requests_total\S+ (\S+)$", page.read().decode(), re.MULTILINE))


class RolloutTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        network.make()
        cls.replicas = Replicas()
        pods = [cls.replicas.start(tier) for tier in TIERS for _ in range(2)]
        for pod in pods:
            cls.replicas.wait_until_ready(pod)
        cls.gateway = callers.Gateway(NAMESPACE)

    def ask_over_http(self):
        address = random.choice(self.replicas.names.addresses("diptych-gateway-pods"))
        return callers.ask_http(address, 8080, callers.sample_png(), QUESTION)

    def grpc_load(self):
        return [callers.Load(callers.image_question(self.gateway), 2), callers.Load(callers.text_question(self.gateway, 12), 2)]

    def nothing_lost(self, loads, least=30):
        results = [load.stop() for load in loads]
        print("   ", [count for count, _ in results], "answered", flush=True)
        self.assertEqual([failures for _, failures in results], [{}] * len(results))
        self.assertGreater(sum(count for count, _ in results), least)

    def test_1_the_answers_are_true(self):
        self.assertIn("red", self.gateway.ask(image=callers.sample_png(), question=QUESTION))
        self.assertIn("red", self.ask_over_http())

    def test_2_replacing_every_pod_under_load_loses_nothing(self):
        loads = [*self.grpc_load(), callers.Load(self.ask_over_http, 1)]
        before = {pod.name for tier in TIERS for pod in self.replicas.pods[tier]}
        rollouts = [threading.Thread(target=self.replicas.replace, args=(tier,)) for tier in TIERS]
        for rollout in rollouts:
            rollout.start()
        for rollout in rollouts:
            rollout.join()
        time.sleep(DRAIN)
        self.nothing_lost(loads)
        self.assertFalse(before & {pod.name for tier in TIERS for pod in self.replicas.pods[tier]})

    def test_3_new_replicas_have_their_share_soon_and_lose_nothing_when_they_go(self):
        self.replicas.names.kept = 0.0  # CoreDNS itself keeps nothing
        loads = self.grpc_load()
        new = {tier: self.replicas.start(tier) for tier in ("vision", "language")}
        for tier, pod in new.items():
            self.replicas.wait_until_ready(pod)
            since = time.monotonic()
            while not answered(pod):
                self.assertLess(time.monotonic() - since, SOON, f"{pod.name} has got nothing")
                time.sleep(0.2)
            print(f"    {pod.name}: the first request {time.monotonic() - since:.1f} s after it was ready", flush=True)
        time.sleep(5)
        for tier, pod in new.items():
            shares = {p.name: answered(p) for p in self.replicas.pods[tier]}
            print("   ", shares, flush=True)
            self.replicas.stop(tier, pod)
        time.sleep(DRAIN)
        self.nothing_lost(loads)

    def test_4_a_killed_process_costs_no_question(self):
        loads = self.grpc_load()
        for program in ("vision_service", "language_service", "gateway"):
            time.sleep(3)
            subprocess.run(["pkill", "-KILL", "--oldest", "--exact", program[:15]], check=True)
        time.sleep(8)
        self.nothing_lost(loads)


if __name__ == "__main__":
    paths.made(paths.RUN)
    unittest.main(verbosity=2)
