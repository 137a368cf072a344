"""Replicas that come and go as the manifests say: real processes, started, probed and stopped as Kubernetes does it, under load.

Takes the pods from deploy/kustomize/base. Run by `make rollout-test`, in namespaces of its own (in_namespaces.sh).
"""
import random
import subprocess
import threading
import time
import unittest

from cluster import callers, network, paths
from cluster.replicas import NAMESPACE, TIERS, Replicas, answered

QUESTION = "What color is the circle?"
DRAIN = 50  # seconds that a pod takes to end, with the chart's drain.delay
SOON = 10  # seconds after which a new replica has its share: connections live for eight, and a little more or less


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

    def test_5_a_node_that_vanishes_costs_no_question(self):
        loads = self.grpc_load()
        time.sleep(3)
        lost = {tier: self.replicas.pods[tier][0] for tier in TIERS}
        for pod in lost.values():
            pod.network.cut()
            with self.assertRaises(OSError):
                answered(pod, timeout=1)
        time.sleep(15)  # names still lead there: a control plane takes its time to miss a node
        for tier, pod in lost.items():
            self.replicas.pods[tier].remove(pod)
            pod.stop(0)
        time.sleep(10)
        self.nothing_lost(loads)


if __name__ == "__main__":
    paths.made(paths.RUN)
    unittest.main(verbosity=2)
