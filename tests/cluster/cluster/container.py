"""One container of a pod as a local process, with its probes and restarts. Confined to the thread of its pod."""
import http.client
import subprocess
import time

from . import environment, paths, sandbox
from .probes import Probe
from .quantities import now

LOGS = paths.RUN / "pods"
_LONGEST_BACKOFF = 30.0


class Container:
    """Waiting, running or terminated. `spec` is the container's, `pod` what it belongs to (pod.Pod)."""

    def __init__(self, spec, pod):
        self.spec, self._pod = spec, pod
        self.name = spec["name"]
        self.restarts = 0
        self.state = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state = {}
        self.ready = self.started = False
        self._process = self._root = self._readiness = self._liveness = self._startup = None
        self._restart_at = 0.0

    @property
    def log(self):
        return LOGS / f"{self._pod.name}.{self.name}.log"

    @property
    def ended(self):
        """The exit code, or None while it has not run to its end."""
        return self.state["terminated"]["exitCode"] if "terminated" in self.state else None

    @property
    def running(self):
        return "running" in self.state

    def _command(self, variables):
        words = [environment.expand(word, variables) for word in self.spec.get("command", []) + self.spec.get("args", [])]
        security = {**self._pod.pod["spec"].get("securityContext", {}), **self.spec.get("securityContext", {})}
        return self._pod.network.enter() + sandbox.confine(self._root, security, variables, words, self.spec.get("workingDir", "/"))

    def _make_root(self):
        folder = paths.RUN / "roots" / self._pod.uid / f"{self.name}.{self.restarts}"
        self._root = sandbox.RootFilesystem(folder, self._pod.name, self._pod.namespace)
        for mount in self.spec.get("volumeMounts", []):
            self._root.bind(self._pod.volumes[mount["name"]] / mount.get("subPath", ""), mount["mountPath"], mount.get("readOnly", False))
        if self.spec.get("securityContext", {}).get("readOnlyRootFilesystem"):
            self._root.seal()

    def start(self):
        """Starts the process. Raises NotYet if its environment refers to something that is not there."""
        variables = environment.of(self._pod.api, self._pod.pod, self.spec, self._pod.network.address)
        self._make_root()
        command = self._command(variables)
        paths.made(LOGS)
        with open(self.log, "ab") as log:
            log.write(f"--- {now()} {' '.join(self.spec.get('command', []) + self.spec.get('args', []))}\n".encode())
            log.flush()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.state = {"running": {"startedAt": now()}}
        probe = lambda kind: Probe(self.spec[kind], self.spec, self._pod.network.address) if kind in self.spec else None  # noqa: E731
        self._startup, self._readiness, self._liveness = probe("startupProbe"), probe("readinessProbe"), probe("livenessProbe")
        self.started, self.ready = self._startup is None, False

    def _note_end(self):
        code = self._process.returncode
        self.state = {"terminated": {"exitCode": code if code >= 0 else 128 - code, "reason": "Completed" if code == 0 else "Error",
                                     "message": self._last_words() if code != 0 else "", "startedAt": self.state["running"]["startedAt"], "finishedAt": now()}}
        self.ready = self.started = False
        self._root.remove()

    def _last_words(self):
        """The end of the log, if the container asks for that where a process ends with an error."""
        if self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return self.log.read_bytes()[-2048:].decode(errors="replace")

    def _restart_later(self):
        self.last_state = self.state
        self._restart_at = time.monotonic() + min(2.0 ** self.restarts, _LONGEST_BACKOFF)
        self.restarts += 1
        self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off before restart {self.restarts}"}}

    def look(self, policy, stopping):
        """Notices the process's end, runs probes that are due and restarts as `policy` says."""
        if self.running and self._process.poll() is not None:
            self._note_end()
            if not stopping and (policy == "Always" or (policy == "OnFailure" and self.ended != 0)):
                self._restart_later()
        if "waiting" in self.state and self._restart_at and time.monotonic() >= self._restart_at and not stopping:
            self.start()
        if self.running:
            self._probe(stopping)

    def _run(self, probe, kind):
        probe.run_if_due()
        if probe.words:
            self._pod.warn("Unhealthy", f"{kind} probe failed: {probe.words}")

    def _probe(self, stopping):
        if not self.started:
            self._run(self._startup, "Startup")
            self.started = self._startup.healthy is True
            if self._startup.healthy is False:
                self._process.kill()
            return
        if self._readiness is not None:
            self._run(self._readiness, "Readiness")
        self.ready = self._readiness is None or self._readiness.healthy is True
        if self._liveness is not None and not stopping:
            self._run(self._liveness, "Liveness")
            if self._liveness.healthy is False:
                self._process.kill()

    def before_stop(self):
        """Runs preStop, if there is one, and waits for it."""
        hook = self.spec.get("lifecycle", {}).get("preStop", {})
        if not self.running or not hook:
            return
        if "sleep" in hook:
            time.sleep(hook["sleep"]["seconds"])
        elif "exec" in hook:
            security = {**self._pod.pod["spec"].get("securityContext", {}), **self.spec.get("securityContext", {})}
            subprocess.run(self._pod.network.enter() + sandbox.confine(self._root, security, {"PATH": sandbox.IMAGE_PATH}, hook["exec"]["command"]), check=False)
        elif "httpGet" in hook:
            connection = http.client.HTTPConnection(self._pod.network.address, hook["httpGet"]["port"], timeout=30)
            connection.request("GET", hook["httpGet"].get("path", "/"))
            connection.getresponse().read()

    def terminate(self):
        if self.running:
            self._process.terminate()

    def kill(self):
        if self.running:
            self._process.kill()
            self._process.wait()
            self._note_end()

    def status(self):
        """What the API server shows as the container's status."""
        return {"name": self.name, "image": self.spec["image"], "imageID": self.spec["image"], "ready": self.ready, "started": self.started,
                "restartCount": self.restarts, "state": self.state, "lastState": self.last_state}
