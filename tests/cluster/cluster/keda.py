"""KEDA's three programs as processes of the cluster: operator, metrics API, admission. As its own manifests start them, but for addresses."""
import json
import shutil
import threading

from . import certificates, control_plane, paths

import yaml  # the package puts it on the path

FOLDER = paths.REPOSITORY / ".deps" / "cluster" / "keda"
NAMESPACE = "keda"
CERTIFICATES = paths.RUN / "keda"
TARGETS = paths.RUN / "targets.json"
_METRICS, _ADMISSION = 36666, 36445
_PORTS = {"gateway": 9000, "vision": 9001, "language": 9002}


def _issue_certificates():
    """One for all three, as KEDA makes it itself: each is server and client of another."""
    paths.made(CERTIFICATES)
    for name, file in certificates.issue("keda", "localhost", f"keda-operator.{NAMESPACE}.svc").items():
        shutil.copy(file, CERTIFICATES / name)


def _start(program, *arguments):
    """With the environment that its manifests give it; a pod would know its namespace from its service account."""
    environment = {"KUBECONFIG": control_plane.KUBECONFIG, "POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE, "WATCH_NAMESPACE": ""}
    control_plane.start(f"keda-{program}", "env", *[f"{name}={value}" for name, value in environment.items()],
                        FOLDER / "bin" / program, f"--cert-dir={CERTIFICATES}", *arguments)


def _register_admission(api):
    """KEDA's own rules, but at the address of the process, and with no way around it."""
    configuration = yaml.safe_load((FOLDER / "validation_webhooks.yaml").read_text(encoding="utf-8"))
    authority = certificates.FOLDER / "ca.crt"
    for webhook in configuration["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://localhost:{_ADMISSION}{path}", "caBundle": control_plane.base64_of(authority)}
        webhook["failurePolicy"] = "Fail"
    api.create("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", configuration)


def start(api):
    """Makes KEDA the cluster's external metrics API and the judge of its own objects."""
    for file in sorted((FOLDER / "definitions").glob("*.yaml")):
        control_plane.run("kubectl", "apply", "--server-side", "--filename", file)
    control_plane.run("kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    _issue_certificates()
    _start("operator", f"--metrics-service-bind-address=127.0.0.1:{_METRICS}", "--metrics-bind-address=127.0.0.1:36081", "--health-probe-bind-address=127.0.0.1:36082")
    accounts = [f"--{kind}-kubeconfig={control_plane.KUBECONFIG}" for kind in ("lister", "authentication", "authorization")]
    _start("adapter", *accounts, "--bind-address=127.0.0.1", f"--secure-port={control_plane.METRICS_PORT}", f"--client-ca-file={CERTIFICATES}/ca.crt",
           f"--tls-cert-file={CERTIFICATES}/tls.crt", f"--tls-private-key-file={CERTIFICATES}/tls.key", f"--metrics-service-address=localhost:{_METRICS}", "--port=36083")
    _start("webhooks", f"--port={_ADMISSION}", "--metrics-bind-address=0", "--health-probe-bind-address=127.0.0.1:36084")
    for port in (36082, 36084):
        control_plane.until(f"KEDA is ready at {port}", lambda port=port: control_plane.answers(f"http://127.0.0.1:{port}/readyz"), 120)
    _register_admission(api)
    control_plane.register_metrics(api, ("external.metrics.k8s.io", "v1beta1"))


def jobs(_namespace, _release):
    """Prometheus' settings: it scrapes what Discovery writes down."""
    return f"\n- {{job_name: diptych, file_sd_configs: [{{files: [{TARGETS}], refresh_interval: 1s}}]}}"


class Discovery:
    """Writes down the pods of a release with the labels that the chart's PodMonitors give them, as Prometheus' operator would find them."""

    def __init__(self, release):
        self._release, self._stopped = release, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self):
        self._stopped.set()

    def _targets(self):
        for pod in self._release.pods():
            tier, address = pod["metadata"]["labels"]["app.kubernetes.io/component"], pod["status"].get("podIP")
            if address and tier in _PORTS:
                labels = {"job": f"diptych-{tier}", "namespace": self._release.namespace, "pod": pod["metadata"]["name"]}
                yield {"targets": [f"{address}:{_PORTS[tier]}"], "labels": labels}

    def _run(self):
        while not self._stopped.wait(0.5):
            try:
                written = TARGETS.with_suffix(".new")
                written.write_text(json.dumps(list(self._targets())), encoding="ascii")
                written.rename(TARGETS)
            except (control_plane.ApiError, OSError):  # asked again
                continue
