"""A release of the chart under the control plane: what helm does to it, and its pods as the API server shows them."""
import threading

from . import metrics, paths
from .control_plane import Stopwatch, run, settle, until

VALUES = paths.REPOSITORY / "tests" / "cluster" / "values.yaml"
TIERS = ("gateway", "vision", "language")


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


class Release:
    def __init__(self, cluster, namespace, name="diptych"):
        self.cluster, self.namespace, self.name = cluster, namespace, name
        self.api = cluster.api

    def helm(self, *arguments, check=True):
        return run("helm", "--namespace", self.namespace, *arguments, check=check)

    def upgrade(self, *settings, wait=True, check=True):
        """Installs or upgrades, with the test's values and `settings` as NAME=VALUE."""
        sets = [word for setting in settings for word in ("--set", setting)]
        return self.helm("upgrade", "--install", self.name, paths.CHART, "--values", VALUES, *sets, *(["--wait", "--timeout", "3m"] if wait else []), check=check)

    def revision(self):
        return max(int(secret["metadata"]["labels"]["version"]) for secret in
                   self.api.list(f"/api/v1/namespaces/{self.namespace}/secrets", labelSelector=f"owner=helm,name={self.name}"))

    def pods(self, tier=None):
        """The pods that are not about to end, of one tier or of all."""
        selector = f"app.kubernetes.io/instance={self.name}" + (f",app.kubernetes.io/component={tier}" if tier else "")
        return [pod for pod in self.api.list(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector) if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, tier):
        return [pod for pod in self.pods(tier) if is_ready(pod)]

    def wait_for(self, seconds=90, **replicas):
        """Until each tier has so many pods, all ready: wait_for(vision=2)."""
        wanted = {tier: (count, count) for tier, count in replicas.items()}

        def check():
            found = {tier: (len(self.pods(tier)), len(self.ready(tier))) for tier in replicas}
            assert found == wanted, f"not within {seconds} s: pods, ready ones: wanted {wanted}, found {found}"

        settle(check, seconds)

    def wait_until_gone(self, names, seconds=60):
        """Until nothing is left of these pods."""
        until(f"{names} are gone", lambda: not names & {p["metadata"]["name"] for p in self.api.list(f"/api/v1/namespaces/{self.namespace}/pods")}, seconds)

    def names(self, tier=None):
        return {pod["metadata"]["name"] for pod in self.pods(tier)}

    def address(self):
        """Of the gateway's Service."""
        return self.api.get(f"/api/v1/namespaces/{self.namespace}/services/{self.name}")["spec"]["clusterIP"]

    def served(self, tier):
        """Requests that each ready pod of a tier has ended, by the pod's name."""
        return {pod["metadata"]["name"]: metrics.answered(pod["status"]["podIP"], tier) for pod in self.ready(tier)}


class Recorder:
    """Notes twice a second how many replicas are ready, what waits and how long callers do, and when each pod first served."""

    def __init__(self, release):
        self.samples, self.load = [], None
        self.ready_since, self.first_answer = {}, {}  # by the pod's name
        self._release, self._watch, self._stopped = release, Stopwatch(most=5.0), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def now(self):
        return self._watch.seconds

    def stop(self):
        self._stopped.set()
        self._thread.join()

    def _note_waiting(self, tier, pod):
        """Adds to the pod's first times; returns what waits in it."""
        name = pod["metadata"]["name"]
        self.ready_since.setdefault(name, self.now())
        page = metrics.read(pod["status"]["podIP"], tier, 2)
        if name not in self.first_answer and any(value for key, value in page if key.startswith("diptych_requests_total")):
            self.first_answer[name] = self.now()
        return dict(page).get("diptych_requests_waiting", 0)

    def _sample(self):
        waiting, ready = {"vision": 0, "language": 0}, {"vision": 0, "language": 0}
        for pod in self._release.pods():
            tier = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            if tier in ready and is_ready(pod):
                ready[tier] += 1
                waiting[tier] += self._note_waiting(tier, pod)
        self.samples.append({"time": self.now(), "ready": ready, "waiting": waiting, "p95": self.load.p95() if self.load else None})

    def _run(self):
        while not self._stopped.wait(0.5):
            self._watch.read()
            try:
                self._sample()
            except OSError:  # a pod that has just ended
                continue
