"""The nodes of the cluster test: what a pod's manifest asks for happens to a real process. Needs no control plane.

Usage: node_agent_test.py BIN_FOLDER; run by ctest as `node_agent_test`. Skipped (77) without root, or without the Python packages that
setup.sh fetches.
"""
import base64
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

INSIDE = "DIPTYCH_INSIDE_NAMESPACES"
ROOT = pathlib.Path(__file__).resolve().parents[2]
SECURITY = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


class Objects:
    """Stands in for the API server: holds Secrets and ConfigMaps, and what a node reports."""

    def __init__(self):
        self.things, self.statuses, self.events, self.deleted = {}, [], [], threading.Event()

    def find(self, path):
        return self.things.get(path)

    def patch(self, _, body):
        self.statuses.append(body["status"])

    def create(self, _, body):
        self.events.append(body["message"])

    def delete(self, _, **options):
        self.options = options
        self.deleted.set()


def manifest(name, container, **spec):
    return {"metadata": {"name": name, "namespace": "test", "uid": name, "labels": {}}, "status": {},
            "spec": {"nodeName": "node-a", "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
                     "containers": [{"name": "main", "image": "diptych-tier-cpu:test", "securityContext": SECURITY, **container}], **spec}}


VISION = {"command": ["vision_service"],
          "args": ["--model=/opt/diptych/share/diptych/models/demo", "--listen=0.0.0.0:7001", "--metrics_listen=$(POD_IP):9001", "--drain_delay=4s"],
          "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                  {"name": "DIPTYCH_THREADS", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1"}}}],
          "resources": {"requests": {"cpu": "500m"}},
          "ports": [{"name": "grpc", "containerPort": 7001}],
          "startupProbe": {"grpc": {"port": 7001, "service": "liveness"}, "periodSeconds": 1, "failureThreshold": 60},
          "readinessProbe": {"grpc": {"port": 7001, "service": "readiness"}, "periodSeconds": 1},
          "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 1}}


def shell(script):
    return {"command": ["sh", "-c", script]}


class NodeAgentTest(unittest.TestCase):
    addresses = iter(range(1, 250))

    def start(self, pod, objects=None):
        self.objects = objects or Objects()
        number = next(self.addresses)
        self.ended = threading.Event()
        self.pod = Pod(self.objects, pod, PodNetwork(f"node-a-{number}", f"10.244.1.{number}"), lambda _: self.ended.set())
        self.addCleanup(lambda: (self.pod.stop(0), self.ended.wait(20)))

    def until(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while not (value := condition()):
            self.assertLess(time.monotonic(), end, f"{what}: {self.objects.statuses[-1:]}\n{self.log()}")
            time.sleep(0.1)
        return value

    def log(self):
        file = self.pod.container("main").log
        return file.read_text() if file.exists() else ""

    @property
    def status(self):
        return self.objects.statuses[-1] if self.objects.statuses else {"phase": "", "conditions": [], "containerStatuses": [{"state": {}}]}

    def is_ready(self):
        return {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in self.status["conditions"]}.items()

    def state(self):
        return self.status["containerStatuses"][0]["state"]

    def test_a_process_of_ours_gets_ready_is_restarted_and_ends_in_order(self):
        self.start(manifest("vision", VISION))
        self.until("ready", self.is_ready)
        self.assertIn("--threads=1", self.log())  # half a core, rounded up
        self.assertIn("--metrics_listen=10.244.1.", self.log())
        subprocess.run(["pkill", "-KILL", "--exact", "vision_service"], check=True)
        self.until("restarted", lambda: self.status["containerStatuses"][0]["restartCount"] == 1 and self.is_ready())
        self.pod.stop(30)
        self.until("not ready while it drains", lambda: not self.is_ready())
        told = "Readiness probe failed: error: health rpc probe failed: rpc error: code = Unavailable desc = this server is shutting down"
        self.until("told why", lambda: told in self.objects.events)
        self.assertTrue(self.ended.wait(30))
        self.assertEqual(self.state()["terminated"]["exitCode"], 0)
        self.assertEqual(self.objects.options, {"grace": 0, "uid": "vision"})

    def test_readiness_that_another_took_away_is_told_again(self):
        self.start(manifest("told", shell("sleep 1000")))
        self.until("ready", self.is_ready)
        told = len(self.objects.statuses)
        self.pod.see({"conditions": [{"type": "Ready", "status": "False"}]})
        self.until("told again", lambda: len(self.objects.statuses) > told and self.is_ready())

    def test_it_runs_without_rights_on_a_read_only_root(self):
        self.start(manifest("rights", {**shell("id -u; touch /etc/x; touch /data/x && echo written; grep -E 'CapBnd|NoNewPrivs' /proc/self/status"),
                                       "volumeMounts": [{"name": "data", "mountPath": "/data"}]}, volumes=[{"name": "data", "emptyDir": {}}], restartPolicy="Never"))
        self.until("ended", lambda: self.status["phase"] == "Succeeded")
        for words in ("65532\n", "Read-only file system", "written\n", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
            self.assertIn(words, self.log())

    def test_secrets_are_waited_for_named_and_mounted(self):
        objects = Objects()
        self.start(manifest("secrets", {**shell("cat /keys/a; stat -c %a-%g /keys/a; echo $VALUE"), "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
                                        "env": [{"name": "VALUE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}]},
                            volumes=[{"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o440}}], restartPolicy="Never"), objects)
        self.until("told", lambda: self.state().get("waiting", {}).get("message") == 'secret "keys" not found')
        objects.things["/api/v1/namespaces/test/secrets/keys"] = {"data": {"a": base64.b64encode(b"hidden\n").decode()}}
        self.until("told", lambda: self.state().get("waiting", {}).get("message") == 'configmap "settings" not found')
        objects.things["/api/v1/namespaces/test/configmaps/settings"] = {"data": {"k": "known"}}
        self.until("ended", lambda: self.status["phase"] == "Succeeded")
        self.assertIn("hidden\n440-65532\nknown\n", self.log())

    def test_a_failing_liveness_probe_restarts(self):
        self.start(manifest("dead", {**shell("sleep 1000"), "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2}}))
        self.until("restarted", lambda: self.status["containerStatuses"][0]["restartCount"] >= 1)
        self.assertEqual(self.status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 128 + signal.SIGKILL)

    def test_pre_stop_runs_before_sigterm_and_grace_ends_with_sigkill(self):
        self.start(manifest("stubborn", {**shell("trap 'echo told' TERM; while true; do sleep 0.1; done"),
                                         "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo before >/data/order"]}}},
                                         "volumeMounts": [{"name": "data", "mountPath": "/data"}]}, volumes=[{"name": "data", "emptyDir": {}}]))
        self.until("running", lambda: "running" in self.state())
        time.sleep(1)  # for the shell to set its trap
        order = pathlib.Path(self.pod.volumes["data"]) / "order"
        self.pod.stop(2)
        self.until("preStop ran", order.exists)
        self.assertTrue(self.ended.wait(30))
        self.assertIn("told", self.log())
        self.assertEqual(self.state()["terminated"]["exitCode"], 128 + signal.SIGKILL)

    def test_init_containers_come_first_and_a_failed_one_ends_a_pod_that_never_restarts(self):
        initial = [{"name": "first", "image": "diptych-gateway:test", "command": ["sh", "-c", "exit 3"]}]
        self.start(manifest("init", shell("echo never"), initContainers=initial, restartPolicy="Never"))
        self.until("failed", lambda: self.status["phase"] == "Failed")
        self.assertNotIn("never", self.log())

    def test_the_last_words_of_a_process_are_its_message_where_that_is_asked_for(self):
        for policy, message in (("FallbackToLogsOnError", "no room\n"), ("File", "")):
            with self.subTest(policy=policy):
                self.start(manifest(policy.lower(), {**shell("echo no room; exit 3"), "terminationMessagePolicy": policy}, restartPolicy="Never"))
                self.until("failed", lambda: self.status["phase"] == "Failed")
                self.assertTrue(self.state()["terminated"]["message"].endswith(message))
                self.assertEqual(bool(self.state()["terminated"]["message"]), bool(message))

    def test_an_image_that_is_not_there_is_told(self):
        self.start(manifest("image", {**shell("true"), "image": "registry.example.com/other:1"}))
        self.until("told", lambda: self.state().get("waiting", {}).get("reason") == "ErrImagePull")


if __name__ == "__main__":
    if os.geteuid() != 0 or not (ROOT / ".deps/cluster/python/grpc").exists() or not shutil.which("unshare"):
        print("skipped: needs root, and gRPC for Python in .deps/cluster (tests/cluster/setup.sh)")
        sys.exit(77)
    if INSIDE not in os.environ:
        begin = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && exec \"$@\""
        sys.exit(subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", begin, "sh", sys.executable,
                                 *sys.argv], env={**os.environ, INSIDE: "1", "DIPTYCH_BIN": str(pathlib.Path(sys.argv[1]).resolve()),
                                                  "DIPTYCH_CLUSTER_RUN": f"/run/{os.getpid()}"}, check=False).returncode)
    sys.path.insert(0, str(ROOT / "tests" / "cluster"))
    from cluster import network, paths
    from cluster.pod import Pod
    from cluster.sandbox import PodNetwork
    paths.made(paths.RUN)
    network.make()
    unittest.main(argv=sys.argv[:1])
