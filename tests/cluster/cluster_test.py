"""The chart under a real Kubernetes: its API server, controllers, scheduler and autoscalers, with our real processes as pods.

Run by `make cluster-test`, in namespaces of its own (in_namespaces.sh). The tests build on each other, in this order.
"""
import functools
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from cluster import callers, certificates, control_plane, figure, paths, release
from cluster.control_plane import run, settle, until

sys.path.insert(0, str(paths.REPOSITORY / "tests" / "deploy"))
import chart  # noqa: E402  pylint: disable=wrong-import-position

NAMESPACE = "diptych"
DRY = "dry-run"  # for what is only tried
SECURE = "secure"  # the namespace of a release with TLS
QUESTION = "What color is the circle?"
SOON = 10  # seconds within which a ready replica has its share
FIXED = ("vision.autoscaling.enabled=false", "language.autoscaling.enabled=false")
FIGURE = os.environ.get("DIPTYCH_CLUSTER_FIGURE")


def say(*words):
    print("   ", *words, flush=True)


def other_model():
    """A copy of the demo model with one weight of the vision model changed, where pods see it."""
    folder = paths.REPOSITORY / "build" / "cluster" / "other"
    shutil.copytree(paths.REPOSITORY / "models" / "demo", folder, dirs_exist_ok=True)
    weights = folder / "model.safetensors"
    weights.chmod(0o644)
    content = bytearray(weights.read_bytes())
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + header_bytes])
    first = min(tensor["data_offsets"][0] for name, tensor in header.items() if "vision_model" in name)
    content[8 + header_bytes + first] ^= 1
    weights.write_bytes(content)
    return folder


class ClusterTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        began = time.monotonic()
        cls.cluster = control_plane.Cluster(NAMESPACE)
        say(f"the control plane and two nodes are ready after {time.monotonic() - began:.1f} s")
        cls.api = cls.cluster.api
        for namespace in (NAMESPACE, DRY, SECURE):
            cls.api.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        cls.release = release.Release(cls.cluster, NAMESPACE)
        cls.recorder = release.Recorder(cls.release)
        cls.marks = []

    @functools.cached_property
    def gateway(self):
        return callers.Gateway(NAMESPACE)

    def ask_over_http(self):
        return callers.ask_http(self.release.address(), 8080, callers.sample_png(), QUESTION)

    def load(self, *further):
        return [callers.Load(callers.image_question(self.gateway), 2), callers.Load(callers.text_question(self.gateway, 12), 2),
                *[callers.Load(ask, 1) for ask in further]]

    def nothing_lost(self, what, loads, least=20):
        results = [load.stop() for load in loads]
        say(f"{what}: {sum(count for count, _ in results)} answered, {sum(sum(failures.values()) for _, failures in results)} failed")
        self.assertEqual([failures for _, failures in results], [{}] * len(results))
        self.assertGreater(sum(count for count, _ in results), least)

    def arguments(self, tier):
        """The command line's flags of each pod of a tier."""
        return [pod["spec"]["containers"][0]["args"] for pod in self.release.pods(tier)]

    def assert_true_answers(self):
        self.assertIn("red", self.gateway.ask(image=callers.sample_png(), question=QUESTION))
        self.assertIn("red", self.ask_over_http())

    def test_01_the_api_server_takes_every_object_of_the_chart(self):
        for file in sorted(paths.DEFINITIONS.glob("*.yaml")):
            run("kubectl", "apply", "--server-side", "--filename", file)
        run("kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        run("kubectl", "--namespace", DRY, "create", "serviceaccount", "diptych")
        unknown, taken = set(), 0
        for values in (None, *sorted(chart.VALUES.glob("*.yaml"))):
            done = run("kubectl", "--namespace", DRY, "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=chart.template(values), check=False)
            unknown |= set(re.findall(r'no matches for kind "(\w+)"', done.stderr))
            words = [line for line in done.stderr.splitlines() if line and "no matches for kind" not in line and "ensure CRDs are installed" not in line]
            self.assertEqual(words, [], values)
            taken += len(done.stdout.splitlines())
        say(f"{taken} objects taken; kinds that this API server does not know:", *sorted(unknown))
        self.assertLessEqual(unknown, {"PodMonitor", "PrometheusRule", "InferencePool"})

    def test_02_install_and_ask(self):
        refused = run("kubectl", "--namespace", NAMESPACE, "run", "root", "--image=diptych-gateway", check=False)
        self.assertIn("violates PodSecurity \"restricted", refused.stderr)
        began = time.monotonic()
        self.release.upgrade(*FIXED)
        say(f"helm install --wait: {time.monotonic() - began:.1f} s")
        self.release.wait_for(gateway=2, vision=2, language=2)
        self.assertEqual({pod["spec"]["nodeName"] for pod in self.release.pods("vision")}, {"node-a", "node-b"})
        self.assert_true_answers()
        self.assertIn("red", self.release.helm("test", self.release.name, "--logs").stdout)

    def replace_all(self, what, action):
        """Runs `action` under load and waits until the last of the pods before it has ended."""
        loads, before = self.load(self.ask_over_http), self.release.names()
        action()
        self.release.wait_until_gone(before)
        self.nothing_lost(what, loads)
        self.assertFalse(before & self.release.names())

    def test_03_an_upgrade_loses_nothing(self):
        self.replace_all("helm upgrade", lambda: self.release.upgrade(*FIXED, "gateway.flags.max_inflight=200", "language.flags.max_batch=8", "vision.flags.image_workers=2"))
        for tier, flag in (("gateway", "--max_inflight=200"), ("language", "--max_batch=8"), ("vision", "--image_workers=2")):
            self.assertTrue(all(flag in arguments for arguments in self.arguments(tier)), tier)

    def test_04_a_rollback_loses_nothing(self):
        self.replace_all("helm rollback", lambda: self.release.helm("rollback", self.release.name, "1", "--wait", "--timeout", "3m"))
        self.assertFalse(any("--max_inflight=200" in arguments for arguments in self.arguments("gateway")))

    def drain(self, node):
        """Evicts what runs on a node, as an operator does: what kubectl says."""
        done = run("kubectl", "drain", node, "--delete-emptydir-data", "--timeout=120s")
        return done.stdout + done.stderr

    def test_05_a_drained_node_keeps_the_disruption_budgets(self):
        loads = self.load()
        self.drain("node-a")
        self.release.wait_for(gateway=2, vision=2, language=2)
        run("kubectl", "uncordon", "node-a")
        words = self.drain("node-b")  # where both replicas of each tier are now
        run("kubectl", "uncordon", "node-b")
        self.release.wait_for(gateway=2, vision=2, language=2)
        self.assertIn("would violate the pod's disruption budget", words)
        self.assertEqual({pod["spec"]["nodeName"] for pod in self.release.pods()}, {"node-a"})
        self.nothing_lost("two nodes drained, one after the other", loads)

    def test_06_a_killed_process_costs_no_question(self):
        loads = self.load()
        for program in ("vision_service", "language_service", "gateway"):
            time.sleep(3)
            subprocess.run(["pkill", "-KILL", "--oldest", "--exact", program[:15]], check=True)
        until("all three restarted", lambda: sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in self.release.pods()) == 3)
        self.release.wait_for(gateway=2, vision=2, language=2)
        self.nothing_lost("a process of each tier killed", loads)

    def test_07_a_node_that_vanishes_costs_no_question(self):
        run("kubectl", "--namespace", NAMESPACE, "rollout", "restart", "deployment")  # over both nodes again
        for tier in release.TIERS:
            run("kubectl", "--namespace", NAMESPACE, "rollout", "status", f"deployment/{self.release.name}-{tier}", "--timeout=90s")
        self.assertEqual({pod["spec"]["nodeName"] for pod in self.release.pods("vision")}, {"node-a", "node-b"})
        loads, began = self.load(), time.monotonic()
        self.cluster.lose_node("node-b")
        until("the node is missed", lambda: not self.cluster.is_node_ready("node-b"))
        say(f"the node is missed after {time.monotonic() - began:.1f} s")
        on_a = lambda tier: [pod for pod in self.release.ready(tier) if pod["spec"]["nodeName"] == "node-a"]  # noqa: E731
        until("node-a has two replicas of each tier", lambda: all(len(on_a(tier)) == 2 for tier in release.TIERS), 90)
        say(f"replaced after {time.monotonic() - began:.1f} s")
        self.nothing_lost("a node vanishes", loads)
        self.cluster.start_node("node-b")
        until("node-b is back", lambda: self.cluster.is_node_ready("node-b"))

    def test_08_autoscaling_is_switched_on(self):
        loads = self.load()
        self.release.upgrade()
        for tier in ("vision", "language"):
            settle(functools.partial(self.assert_scaling, tier))
        self.nothing_lost("autoscaling switched on", loads)
        self.release.wait_for(120, vision=1, language=1)

    def assert_scaling(self, tier):
        found = self.api.get(f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{self.release.name}-{tier}")
        conditions = {c["type"]: c for c in found["status"].get("conditions", [])}
        self.assertEqual(conditions.get("ScalingActive", {}).get("status"), "True", conditions)

    def wanted(self, tier):
        return self.api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{self.release.name}-{tier}")["spec"]["replicas"]

    def mark(self, words):
        self.marks.append((self.recorder.now(), words))

    def grow(self, words, question, concurrent, grows, stays):
        """Loads until `grows` has three replicas and SOON longer; `stays` keeps its one."""
        self.mark(words)
        before, load = self.release.names(grows), callers.Load(question, concurrent)
        self.recorder.load = load
        until(f"{grows} has grown", lambda: len(self.release.ready(grows)) == 3, 120)
        new = self.release.names(grows) - before
        until("each new replica has served", lambda: new <= set(self.recorder.first_answer), 30)
        time.sleep(SOON)
        shares = self.release.served(grows)
        self.mark("no load")
        self.recorder.load = None
        self.nothing_lost(words, [load])
        delays = {name: round(self.recorder.first_answer[name] - self.recorder.ready_since[name], 1) for name in new}
        say("requests of each pod", shares, "; first one so many seconds after it was ready:", delays)
        self.assertEqual(self.wanted(stays), 1, f"{stays} has grown, too")
        self.assertLessEqual(max(delays.values()), SOON)

    def test_09_images_grow_the_vision_tier_alone(self):
        self.grow("12 callers with images", callers.image_question(self.gateway), 12, "vision", "language")
        self.release.wait_for(120, vision=1, language=1)

    def test_10_text_grows_the_language_tier_alone(self):
        self.grow("14 callers with text", callers.text_question(self.gateway), 14, "language", "vision")

    def test_11_shrinking_under_light_load_loses_nothing(self):
        self.marks[-1] = (self.recorder.now(), "1 caller with text")
        load = self.recorder.load = callers.Load(callers.text_question(self.gateway, 12), 1)
        before = self.release.names("language")
        self.release.wait_for(120, vision=1, language=1)
        self.release.wait_until_gone(before - self.release.names("language"))
        self.nothing_lost("shrinking", [load], least=10)

    def test_12_vision_goes_to_zero_and_the_first_image_wakes_it(self):
        self.mark("vision may go to zero")
        load = self.recorder.load = callers.Load(callers.text_question(self.gateway, 12), 1)
        before = self.release.names("vision")
        self.release.upgrade("vision.autoscaling.minReplicas=0", "autoscaling.hpaScaleToZero=true")
        self.release.wait_for(120, vision=0)
        self.release.wait_until_gone(before)
        self.mark("an image")
        began = time.monotonic()
        self.assertIn("red", self.gateway.ask(image=callers.sample_png(), question=QUESTION, timeout=90))
        say(f"the first image was answered after {time.monotonic() - began:.1f} s")
        self.assertEqual(len(self.release.ready("vision")), 1)
        self.nothing_lost("text meanwhile", [load])
        self.recorder.stop()
        if FIGURE:
            figure.draw(self.recorder.samples, self.marks, FIGURE)

    def test_13_a_missing_secret_is_named_and_stops_nothing(self):
        self.release.upgrade()
        load = callers.Load(callers.text_question(self.gateway, 12), 1)
        self.release.upgrade("apiKeys.secretName=absent", wait=False)
        waiting = lambda: [c["state"]["waiting"].get("message", "") for pod in self.release.pods("gateway") for c in pod["status"].get("containerStatuses", [])  # noqa: E731
                           if "waiting" in c["state"]]
        until("the secret is named", lambda: any('secret "absent" not found' in words for words in waiting()))
        self.release.helm("rollback", self.release.name, "--wait", "--timeout", "2m")
        self.nothing_lost("a secret was missing", [load], least=5)

    def test_14_why_a_process_does_not_start_is_shown(self):
        load = callers.Load(callers.text_question(self.gateway, 12), 1)
        self.release.upgrade("language.flags.memory_limit=1MiB", wait=False)
        shown = lambda: run("kubectl", "--namespace", NAMESPACE, "describe", "pods", "--selector=app.kubernetes.io/component=language").stdout  # noqa: E731
        until("the numbers are shown", lambda: re.search(r"Message: .*the model does not fit: float32 needs", shown(), re.DOTALL), 60)
        self.release.helm("rollback", self.release.name, "--wait", "--timeout", "2m")
        self.nothing_lost("a process did not start", [load], least=5)

    def test_15_tiers_with_different_models_are_not_ready_and_say_why(self):
        self.release.upgrade(f"vision.extraArgs[0]=--model={other_model()}", wait=False)
        until("no gateway is ready", lambda: not self.release.ready("gateway"), 60)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{self.release.pods('gateway')[0]['status']['podIP']}:9000/healthz/ready", timeout=5)
        self.assertIn("the tiers hold different models: vision other", refused.exception.read().decode())
        gateway = self.release.pods("gateway")[0]["metadata"]["name"]
        described = lambda: run("kubectl", "--namespace", NAMESPACE, "describe", "pod", gateway).stdout  # noqa: E731
        until("the reason is described", lambda: "Readiness probe failed: error: health rpc probe failed: rpc error: code = FailedPrecondition desc = the tiers hold different models" in described())
        self.assertIn("different models", run("kubectl", "--namespace", NAMESPACE, "logs", f"deployment/{self.release.name}-gateway").stdout)
        others = self.release.names("vision")
        self.release.helm("rollback", self.release.name, "--wait", "--timeout", "2m")
        self.release.wait_until_gone(others - self.release.names("vision"))  # until then the language tier may know none but them
        self.assert_true_answers()

    def test_16_values_that_do_not_fit_are_refused_by_name(self):
        for setting, words in (("vision.replicas=-1", "/vision/replicas"), ("language.flags.max_bach=4", "max_bach"), ("drain.delay=soon", "/drain/delay")):
            refused = self.release.upgrade(setting, wait=False, check=False)
            self.assertNotEqual(refused.returncode, 0, setting)
            self.assertIn(words, refused.stderr)

    def test_17_with_tls_everything_speaks_it(self):
        for secret, services in (("diptych-gateway-tls", ["diptych"]), ("diptych-tier-tls", ["diptych-vision-pods", "diptych-language-pods"])):
            files = certificates.issue(secret, *[f"{name}.{SECURE}.svc{domain}" for name in services for domain in ("", ".cluster.local")])
            run("kubectl", "--namespace", SECURE, "create", "secret", "generic", secret, "--type=kubernetes.io/tls", *[f"--from-file={key}={file}" for key, file in files.items()])
        secure = release.Release(self.cluster, SECURE)
        secure.upgrade(*FIXED, "tls.enabled=true", *[f"{tier}.replicas=1" for tier in release.TIERS])
        self.assertIn("red", secure.helm("test", secure.name, "--logs").stdout)
        address = f"diptych.{SECURE}.svc.cluster.local"
        tls = ssl.create_default_context(cafile=certificates.FOLDER / "ca.crt")
        self.assertIn("red", callers.ask_http(address, 8080, callers.sample_png(), QUESTION, tls=tls))
        with self.assertRaisesRegex(RuntimeError, "speaks HTTPS"):
            callers.ask_http(address, 8080, callers.sample_png(), QUESTION)
        secure.helm("uninstall", secure.name)

    def test_18_uninstalling_leaves_nothing(self):
        names = self.release.names()
        self.release.helm("uninstall", self.release.name, "--wait")
        self.release.wait_until_gone(names)
        kinds = run("kubectl", "api-resources", "--namespaced", "--verbs=list", "--output=name").stdout.split()
        kinds = [kind for kind in kinds if kind.partition(".")[0] not in ("events", "pods") and ".metrics." not in kind]
        left = run("kubectl", "--namespace", NAMESPACE, "get", ",".join(kinds), "--output=name").stdout.split()
        self.assertEqual(set(left) - {"configmap/kube-root-ca.crt", "serviceaccount/default"}, set())


if __name__ == "__main__":
    paths.made(paths.RUN)
    unittest.main(verbosity=2, failfast=True)
