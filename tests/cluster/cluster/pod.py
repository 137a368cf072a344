"""One pod on a node: its network, volumes and containers, from the first start to the last process's end. A thread each."""
import copy
import shutil
import threading
import time
import traceback

from . import network, paths, sandbox, volumes
from .container import Container
from .quantities import now

_STEP = 0.2


class Pod:
    """Runs `pod` (the API object) until it ends or is deleted. `on_end` is called on its thread when nothing of it is left."""

    def __init__(self, api, pod, network, on_end):
        self.api, self.pod, self.network, self._on_end = api, pod, network, on_end
        self.name, self.namespace, self.uid = (pod["metadata"][key] for key in ("name", "namespace", "uid"))
        self.volumes = {}
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._policy = pod["spec"].get("restartPolicy", "Always")
        self._initial = [Container(spec, self) for spec in pod["spec"].get("initContainers", [])]
        self._main = [Container(spec, self) for spec in pod["spec"]["containers"]]
        self._grace = None  # seconds, once the pod is to end
        self._stop = threading.Event()
        self._conditions, self._shown, self._begun = {}, None, now()
        self._warned = set()
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def stop(self, grace):
        """Begins the end: preStop, SIGTERM, and SIGKILL after `grace` seconds. A later, shorter grace holds."""
        self._grace = grace if self._grace is None else min(grace, self._grace)
        self._stop.set()

    def see(self, status):
        """What the API server shows. If another has changed readiness, as happens where a node was not heard of for a while, it is told again."""
        ready = [condition["status"] for condition in status.get("conditions", []) if condition["type"] == "Ready"]
        if ready and self._conditions.get("Ready", {}).get("status") not in ready:
            self._shown = None

    def warn(self, reason, message):
        """An event of the pod, as `kubectl describe` shows it: once for each message, where the kubelet counts them."""
        if message in self._warned:
            return
        self._warned.add(message)
        reference = {"apiVersion": "v1", "kind": "Pod", "namespace": self.namespace, "name": self.name, "uid": self.uid}
        try:
            self.api.create(f"/api/v1/namespaces/{self.namespace}/events", {
                "metadata": {"generateName": f"{self.name}."}, "involvedObject": reference, "type": "Warning", "reason": reason, "message": message,
                "source": {"component": "node-agent"}, "firstTimestamp": now(), "lastTimestamp": now(), "count": 1})
        except Exception as error:  # pylint: disable=broad-except
            print(f"{self.name}: event: {error}", flush=True)

    def container(self, name):
        return next((c for c in self._initial + self._main if c.name == name), None)

    def _run(self):
        try:
            if self._prepare() and self._run_initial():
                self._start_main()
                self._run_main()
            if self._stop.is_set():
                self._end()
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            self._clean()
            self._on_end(self)

    def _until_there(self, action):
        """Repeats `action` until all that it refers to is there; False if the pod was told to end first."""
        while not self._stop.is_set():
            try:
                action()
                return True
            except volumes.NotYet as missing:
                for container in self._main:
                    container.state = {"waiting": {"reason": missing.reason, "message": str(missing)}}
                self._show("Pending")
                self._stop.wait(1)
        return False

    def _prepare(self):
        for container in self._initial + self._main:
            image = container.spec["image"].rsplit("/", 1)[-1].partition(":")[0]
            if image not in sandbox.IMAGES:
                container.state = {"waiting": {"reason": "ErrImagePull", "message": f"this node has no image {image}"}}
                self._show("Pending")
                self._stop.wait()
        self._show("Pending")

        def make():
            self.volumes = volumes.make(self.api, self.pod, paths.RUN / "volumes" / self.uid)

        return self._until_there(make)

    def _run_initial(self):
        for container in self._initial:
            while not self._stop.is_set() and container.ended != 0:
                if "waiting" in container.state and container.restarts == 0 and not self._until_there(container.start):
                    return False
                container.look("Never" if self._policy == "Never" else "OnFailure", False)
                self._show("Pending")
                if self._policy == "Never" and container.ended not in (None, 0):
                    self._show("Failed")
                    self._stop.wait()
                    return False
                time.sleep(_STEP)
        return not self._stop.is_set()

    def _start_main(self):
        for container in self._main:
            self._until_there(container.start)

    def _run_main(self):
        while not self._stop.is_set():
            for container in self._main:
                container.look(self._policy, False)
            codes = [container.ended for container in self._main]
            if None in codes:
                self._show("Running")
            else:
                self._show("Succeeded" if not any(codes) else "Failed")
            self._stop.wait(_STEP)

    def _end(self):
        began = time.monotonic()
        for container in self._main:
            container.before_stop()
        for container in self._initial + self._main:
            container.terminate()
        while any(container.running for container in self._main):
            for container in self._main:
                container.look("Never", True)
            self._show("Running")
            if time.monotonic() - began > self._grace:
                for container in self._main:
                    container.kill()
            time.sleep(_STEP)
        self._show("Failed" if any(container.ended for container in self._main) else "Succeeded")

    def _clean(self):
        for container in self._initial + self._main:
            container.kill()
        self.network.remove()
        shutil.rmtree(paths.RUN / "volumes" / self.uid, ignore_errors=True)
        self.api.delete(self._path, grace=0, uid=self.uid)

    def _condition(self, kind, holds):
        status = "True" if holds else "False"
        if self._conditions.get(kind, {}).get("status") != status:
            self._conditions[kind] = {"type": kind, "status": status, "lastTransitionTime": now()}

    def _show(self, phase):
        """Reports the pod's status, if it has changed."""
        ready = phase == "Running" and all(container.ready for container in self._main)
        self._condition("Initialized", all(container.ended == 0 for container in self._initial))
        self._condition("ContainersReady", ready)
        self._condition("Ready", ready)
        status = {"phase": phase, "hostIP": network.HOST, "podIP": self.network.address, "podIPs": [{"ip": self.network.address}],
                  "startTime": self._begun, "conditions": list(self._conditions.values()),
                  "containerStatuses": [container.status() for container in self._main]}
        if self._initial:
            status["initContainerStatuses"] = [container.status() for container in self._initial]
        if status != self._shown:
            self._report(status)
            self._shown = copy.deepcopy(status)

    def _report(self, status):
        try:
            self.api.patch(f"{self._path}/status", {"metadata": {"uid": self.uid}, "status": status})
        except Exception as error:  # pylint: disable=broad-except
            print(f"{self.name}: status: {error}", flush=True)  # deleted by force, or the API server is busy: shown again at the next change
