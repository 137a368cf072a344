"""A node of the cluster: runs the pods that the scheduler gives it as processes of this machine.

`python3 -m cluster.node_agent NAME NUMBER`. Honours init containers, command, args, environment, volumes from Secrets and
ConfigMaps, security contexts, probes, restart policies, preStop, SIGTERM and the grace period. All its processes are in its process
group: who kills the group has pulled the node's plug.
"""
import http.server
import ssl
import sys
import threading
import time

from . import certificates, network
from .api import Api, ApiError
from .pod import Pod
from .quantities import now
from .sandbox import PodNetwork

_HEARTBEAT = 2.0
_LOG_PORT = 36500


class Node:
    def __init__(self, name, number):
        self.name, self._number = name, number
        self._api = Api()
        self.pods = {}  # by uid
        self._lock = threading.Lock()
        self._next_address = 1

    def register(self):
        try:
            self._api.create("/api/v1/nodes", {"metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}}})
        except ApiError as error:
            if error.code != 409:
                raise
        threading.Thread(target=self._beat, daemon=True).start()
        threading.Thread(target=self._serve_logs, daemon=True).start()

    def _beat(self):
        room = {"cpu": "64", "memory": "64Gi", "pods": "60", "ephemeral-storage": "64Gi"}
        while True:
            try:
                self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": {
                    "capacity": room, "allocatable": room, "addresses": [{"type": "InternalIP", "address": network.HOST}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": _LOG_PORT + self._number}},
                    "conditions": [{"type": "Ready", "status": "True", "reason": "NodeAgentReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()}]}})
            except (ApiError, OSError) as error:
                print(f"heartbeat: {error}", flush=True)
            time.sleep(_HEARTBEAT)

    def run(self):
        """Follows the pods that are bound to this node, forever."""
        chosen = {"fieldSelector": f"spec.nodeName={self.name}"}
        while True:
            try:
                listed = self._api.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.name}")
                for pod in listed["items"]:
                    self._take(pod)
                for kind, thing in self._api.watch("/api/v1/pods", listed["metadata"]["resourceVersion"], **chosen):
                    if kind in ("ADDED", "MODIFIED"):
                        self._take(thing)
                    elif kind == "DELETED":
                        self._drop(thing["metadata"]["uid"])
                    else:
                        break
            except (ApiError, OSError, ValueError) as error:
                print(f"watch: {error}", flush=True)
                time.sleep(0.5)

    def _take(self, thing):
        metadata = thing["metadata"]
        with self._lock:
            known = self.pods.get(metadata["uid"])
        if "deletionTimestamp" in metadata:
            if known:
                known.stop(metadata.get("deletionGracePeriodSeconds", 30))
            else:
                self._api.delete(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", grace=0, uid=metadata["uid"])
        elif known is None and thing["status"].get("phase") not in ("Succeeded", "Failed"):
            with self._lock:
                number, self._next_address = self._next_address, self._next_address + 1
                network = PodNetwork(f"{self.name}-{number}", f"10.244.{self._number}.{number}")
                self.pods[metadata["uid"]] = Pod(self._api, thing, network, self._forget)
        elif known:
            known.see(thing["status"])

    def _drop(self, uid):
        with self._lock:
            known = self.pods.get(uid)
        if known:
            known.stop(0)

    def _forget(self, pod):
        with self._lock:
            self.pods.pop(pod.uid, None)

    def find(self, namespace, name):
        with self._lock:
            return next((pod for pod in self.pods.values() if (pod.namespace, pod.name) == (namespace, name)), None)

    def _serve_logs(self):
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                parts = self.path.partition("?")[0].strip("/").split("/")  # containerLogs / NAMESPACE / POD / CONTAINER
                pod = node.find(parts[1], parts[2]) if len(parts) == 4 and parts[0] == "containerLogs" else None
                container = pod.container(parts[3]) if pod else None
                self.send_response(200 if container else 404)
                self.end_headers()
                if container and container.log.exists():
                    self.wfile.write(container.log.read_bytes())

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer((network.HOST, _LOG_PORT + self._number), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.FOLDER / "server.crt", certificates.FOLDER / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()


def main():
    node = Node(sys.argv[1], int(sys.argv[2]))
    node.register()
    node.run()


if __name__ == "__main__":
    main()
