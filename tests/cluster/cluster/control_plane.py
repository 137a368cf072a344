"""A real control plane on this machine: etcd, API server, controllers, scheduler, CoreDNS, Prometheus, and what the tests add to them.

Its processes end with the namespaces of in_namespaces.sh.
"""
import base64
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

from . import certificates, network, paths
from .api import ADDRESS, Api, ApiError

KUBECONFIG = paths.RUN / "kubeconfig"
PROMETHEUS = "127.0.0.1:36090"
NAMES_READY = "127.0.0.1:36181"
METRICS_PORT = 36444
SERVICES = "10.96.0.0/16"
LOGS = paths.RUN / "logs"
_ETCD = "http://127.0.0.1:36379"
_started = []  # the processes live as long as this one
_ETCD_PEERS = "http://127.0.0.1:36380"
# A node that has not been heard of for so long is gone, and its pods so much later.
NODE_GRACE, TOLERATION = 8, 5


def start(name, *command):
    """Starts a process of the cluster in a process group of its own, with its output in a log."""
    with open(paths.made(LOGS) / f"{name}.log", "ab") as log:
        _started.append(subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                         cwd=paths.REPOSITORY / "tests" / "cluster"))
    return _started[-1]


def start_module(name, module, *arguments):
    return start(name, sys.executable, "-m", f"cluster.{module}", *arguments)


class Stopwatch:
    """Time since its beginning, without what the machine was suspended for: it goes on by `most` seconds at most when it is read."""

    def __init__(self, most=1.0):
        self._read, self._most, self.seconds = time.monotonic(), most, 0.0

    def read(self):
        before, self._read = self._read, time.monotonic()
        self.seconds += min(self._read - before, self._most)
        return self.seconds


def settle(check, seconds=60):
    """Repeats `check` until it raises nothing; raises its last error after that time."""
    watch = Stopwatch()
    while True:
        try:
            return check()
        except (AssertionError, ApiError, OSError):
            if watch.read() > seconds:
                raise
        time.sleep(0.2)


def until(what, condition, seconds=60):
    """The first true value of `condition`; raises with the last value or error if none comes."""
    def check():
        value = condition()
        assert value, f"{what}: not within {seconds} s: {value}"
        return value

    return settle(check, seconds)


def answers(url):
    with urllib.request.urlopen(url, timeout=2) as page:
        return page.status == 200


def _write_kubeconfig():
    pki = certificates.FOLDER
    KUBECONFIG.write_text(f"""apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "https://{ADDRESS[0]}:{ADDRESS[1]}", certificate-authority: {pki}/ca.crt}}}}]
users: [{{name: admin, user: {{client-certificate: {pki}/admin.crt, client-key: {pki}/admin.key}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
""", encoding="ascii")


def _start_api_server():
    pki = certificates.FOLDER
    start("etcd", paths.DEBIAN / "etcd", f"--data-dir={paths.RUN}/etcd", f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}",
          f"--listen-peer-urls={_ETCD_PEERS}", f"--initial-advertise-peer-urls={_ETCD_PEERS}", f"--initial-cluster=default={_ETCD_PEERS}", "--unsafe-no-fsync")
    start("kube-apiserver", paths.TOOLS / "kube-apiserver", f"--etcd-servers={_ETCD}", f"--bind-address={ADDRESS[0]}", f"--secure-port={ADDRESS[1]}",
          f"--advertise-address={network.HOST}", "--endpoint-reconciler-type=none", f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=RBAC",
          f"--tls-cert-file={pki}/server.crt", f"--tls-private-key-file={pki}/server.key", f"--client-ca-file={pki}/ca.crt",
          f"--service-account-key-file={pki}/accounts.pub", f"--service-account-signing-key-file={pki}/accounts.key",
          "--service-account-issuer=https://kubernetes.default.svc", f"--requestheader-client-ca-file={pki}/ca.crt", "--requestheader-allowed-names=extensions",
          "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
          f"--proxy-client-cert-file={pki}/extensions.crt", f"--proxy-client-key-file={pki}/extensions.key",
          f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key", "--feature-gates=HPAScaleToZero=true",
          f"--default-not-ready-toleration-seconds={TOLERATION}", f"--default-unreachable-toleration-seconds={TOLERATION}")
    api = Api()
    until("the API server is ready", lambda: api.get("/readyz") == "ok", 120)
    return api


def _start_controllers():
    pki, account = certificates.FOLDER, [f"--{kind}kubeconfig={KUBECONFIG}" for kind in ("", "authentication-", "authorization-")]
    start("kube-controller-manager", paths.TOOLS / "kube-controller-manager", *account, "--bind-address=127.0.0.1", "--secure-port=36257", "--leader-elect=false",
          f"--service-account-private-key-file={pki}/accounts.key", f"--root-ca-file={pki}/ca.crt", "--feature-gates=HPAScaleToZero=true",
          "--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
          "--horizontal-pod-autoscaler-cpu-initialization-period=1s", "--node-monitor-period=1s", f"--node-monitor-grace-period={NODE_GRACE}s")
    start("kube-scheduler", paths.TOOLS / "kube-scheduler", *account, "--bind-address=127.0.0.1", "--secure-port=36259", "--leader-elect=false")


def _start_names():
    """As kubeadm sets CoreDNS up."""
    corefile = paths.RUN / "Corefile"
    corefile.write_text(f"""cluster.local:53 {{
    bind {network.HOST}
    errors
    ready {NAMES_READY}
    kubernetes cluster.local {{
        kubeconfig {KUBECONFIG}
        ttl 30
    }}
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
}}
""", encoding="ascii")
    start("coredns", paths.TOOLS / "coredns", "-conf", corefile)
    resolver = paths.RUN / "resolv.conf"
    resolver.write_text(f"nameserver {network.HOST}\n", encoding="ascii")
    subprocess.run(["mount", "--bind", resolver, os.path.realpath("/etc/resolv.conf")], check=True)


def _jobs(namespace, release):
    """As the chart's PodMonitors: a job a tier, with the pods' namespace."""
    return "".join(f"""
- job_name: diptych-{tier}
  dns_sd_configs: [{{names: [{release}-{tier}-pods.{namespace}.svc.cluster.local], type: A, port: {port}, refresh_interval: 1s}}]
  relabel_configs: [{{target_label: namespace, replacement: {namespace}}}]""" for tier, port in (("gateway", 9000), ("vision", 9001), ("language", 9002)))


def _start_prometheus(jobs):
    settings = paths.RUN / "prometheus.yml"
    settings.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:{jobs}\n", encoding="ascii")
    start("prometheus", paths.DEBIAN / "prometheus", f"--config.file={settings}", f"--storage.tsdb.path={paths.RUN}/prometheus", f"--web.listen-address={PROMETHEUS}",
          "--web.console.templates=/nonexistent", "--web.console.libraries=/nonexistent")


def base64_of(file):
    return base64.b64encode(file.read_bytes()).decode()


def register_metrics(api, *groups):
    """Makes what listens at METRICS_PORT the cluster's metrics API of these (group, version)."""
    api.create("/api/v1/namespaces/kube-system/services", {"metadata": {"name": "metrics-adapter"},
               "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": METRICS_PORT}]}})
    for group, version in groups:
        api.create("/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": f"{version}.{group}"}, "spec": {
            "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True,
            "service": {"namespace": "kube-system", "name": "metrics-adapter", "port": METRICS_PORT}}})


def _serve_metrics(api):
    start_module("metrics-adapter", "metrics_adapter")
    register_metrics(api, ("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1"))


class Cluster:
    """Two nodes under a control plane; Prometheus reads the pods of one release by `jobs`, and `serve_metrics` starts who answers autoscalers."""

    def __init__(self, namespace, release="diptych", jobs=_jobs, serve_metrics=_serve_metrics):
        for left in ("etcd", "prometheus", "logs", "pods", "helm", "volumes"):
            shutil.rmtree(paths.RUN / left, ignore_errors=True)
        network.make()
        subprocess.run(["ip", "route", "add", "local", SERVICES, "dev", "lo"], check=True)
        certificates.make()
        _write_kubeconfig()
        self.api = _start_api_server()
        _start_controllers()
        _start_names()
        _start_prometheus(jobs(namespace, release))
        until("kube-system is there", lambda: self.api.find("/api/v1/namespaces/kube-system"))
        start_module("service-proxy", "service_proxy")
        serve_metrics(self.api)
        self.agents = {}
        for name in ("node-a", "node-b"):
            self.start_node(name)
        for name in self.agents:
            until(f"{name} is ready", lambda name=name: self.is_node_ready(name))
        until("names are served", lambda: answers(f"http://{NAMES_READY}/ready"))
        until("metrics are served", lambda: self.api.get("/apis/external.metrics.k8s.io/v1beta1"))

    def start_node(self, name):
        number = 1 + "ab".index(name[-1])
        self.agents[name] = start_module(name, "node_agent", name, number)

    def lose_node(self, name):
        """Pulls a node's plug and cable: its pods' connections hang, and its processes end without a word."""
        pods = [space.split()[0] for space in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()
                if space.startswith(f"{name}-")]
        for pod in pods:
            subprocess.run(["ip", "link", "set", pod, "down"], check=True)
        os.killpg(self.agents.pop(name).pid, signal.SIGKILL)
        for pod in pods:
            subprocess.run(["ip", "netns", "del", pod], check=True)

    def is_node_ready(self, name):
        node = self.api.find(f"/api/v1/nodes/{name}") or {}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions", []))


def run(tool, *arguments, check=True, stdin=None):
    """Runs kubectl or helm against the cluster: its CompletedProcess. Raises with the tool's words if `check`."""
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG), **{f"HELM_{kind}_HOME": str(paths.RUN / "helm") for kind in ("CACHE", "CONFIG", "DATA")}}
    done = subprocess.run([str(paths.TOOLS / tool), *[str(a) for a in arguments]], env=environment, capture_output=True, text=True, input=stdin, check=False)
    if check and done.returncode:
        raise AssertionError(f"{tool} {' '.join(str(a) for a in arguments)}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done
