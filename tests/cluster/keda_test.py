"""KEDA's operator, metrics API and admission over the chart's ScaledObjects, under a real Kubernetes with our real processes as pods.

Run by `make keda-test`, in namespaces of its own (in_namespaces.sh). The tests build on each other, in this order.
"""
import sys
import time
import unittest

from cluster import callers, control_plane, keda, paths, release
from cluster.control_plane import run, settle, until

import yaml  # the package puts it on the path

sys.path.insert(0, str(paths.REPOSITORY / "tests" / "deploy"))
import chart  # noqa: E402  pylint: disable=wrong-import-position

NAMESPACE, DRY = "diptych", "dry-run"
QUESTION = "What color is the circle?"
SETTINGS = ("autoscaling.engine=keda", f"autoscaling.keda.prometheus=http://{control_plane.PROMETHEUS}", "autoscaling.keda.pollingInterval=1",
            "autoscaling.keda.cooldownPeriod=10", "vision.autoscaling.minReplicas=0")
OBJECTS = f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects"


def say(*words):
    print("   ", *words, flush=True)


class KedaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = control_plane.Cluster(NAMESPACE, jobs=keda.jobs, serve_metrics=keda.start)
        cls.api = cls.cluster.api
        for namespace in (NAMESPACE, DRY):
            cls.api.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        cls.release = release.Release(cls.cluster, NAMESPACE)
        cls.discovery = keda.Discovery(cls.release)
        cls.gateway = callers.Gateway(NAMESPACE)

    def nothing_lost(self, what, load, least):
        answered, failures = load.stop()
        say(f"{what}: {answered} answered, {sum(failures.values())} failed")
        self.assertEqual(failures, {})
        self.assertGreater(answered, least)

    def text(self):
        return callers.Load(callers.text_question(self.gateway, 12), 1)

    def wanted(self, tier):
        return self.api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{self.release.name}-{tier}")["spec"]["replicas"]

    def assert_ready(self, tier):
        conditions = {c["type"]: c for c in self.api.get(f"{OBJECTS}/{self.release.name}-{tier}").get("status", {}).get("conditions", [])}
        self.assertEqual(conditions.get("Ready", {}).get("status"), "True", conditions)

    def test_01_admission_takes_the_chart_s_objects(self):
        objects = [thing for thing in yaml.safe_load_all(chart.template(chart.VALUES / "keda.yaml")) if thing and thing["kind"] == "ScaledObject"]
        self.assertEqual(len(objects), 3)
        for thing in objects:
            self.api.create(f"/apis/keda.sh/v1alpha1/namespaces/{DRY}/scaledobjects?dryRun=All&fieldValidation=Strict", thing)

    def test_02_vision_goes_to_zero_and_text_is_answered(self):
        self.release.upgrade(*SETTINGS)
        for tier in ("vision", "language"):
            settle(lambda tier=tier: self.assert_ready(tier))
        load = self.text()
        self.release.wait_for(120, vision=0)
        before = load.answered
        until("text is answered without vision", lambda: load.answered > before + 5)
        self.nothing_lost("text while vision goes to zero", load, before)
        autoscaler = self.api.get(f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/keda-hpa-{self.release.name}-language")
        self.assertEqual((autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]), (1, 3))

    def test_03_a_deployment_has_one_scaler(self):
        other = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "other"},
                 "spec": {"scaleTargetRef": {"name": f"{self.release.name}-vision"}, "triggers": [{"type": "cron", "metadata": {
                     "timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "2"}}]}}
        with self.assertRaisesRegex(control_plane.ApiError, "already managed by"):
            self.api.create(OBJECTS, other)

    def test_04_the_first_image_wakes_vision_and_it_sleeps_again(self):
        load, began = self.text(), time.monotonic()
        self.assertIn("red", self.gateway.ask(image=callers.sample_png(), question=QUESTION, timeout=90))
        say(f"the first image was answered after {time.monotonic() - began:.1f} s")
        self.assertEqual(len(self.release.ready("vision")), 1)
        self.release.wait_for(180, vision=0)
        self.nothing_lost("text meanwhile", load, 10)

    def test_05_images_grow_vision_alone(self):
        load = callers.Load(callers.image_question(self.gateway), 12)
        until("vision has grown", lambda: len(self.release.ready("vision")) == 3, 180)
        self.assertEqual(self.wanted("language"), 1)
        self.nothing_lost("12 callers with images", load, 20)
        self.release.wait_for(180, vision=0, language=1)

    def test_06_uninstalling_leaves_nothing(self):
        names = self.release.names()
        self.release.helm("uninstall", self.release.name, "--wait")
        self.release.wait_until_gone(names)
        left = lambda: run("kubectl", "--namespace", NAMESPACE, "get", "scaledobjects,horizontalpodautoscalers,deployments", "--output=name").stdout  # noqa: E731
        until("nothing is left", lambda: not left().strip())


if __name__ == "__main__":
    paths.made(paths.RUN)
    unittest.main(verbosity=2, failfast=True)
