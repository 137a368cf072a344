"""Startup, readiness and liveness probes, by gRPC, HTTP or TCP, with Kubernetes' thresholds."""
import http.client
import socket
import time

import grpc

_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


def _words_of(error):
    """As the kubelet tells how a health check ended."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "timeout: health rpc did not complete in time"
    code = "".join(word.capitalize() for word in error.code().name.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {code} desc = {error.details()}"


def _asks_grpc(address, port, service, timeout):
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        try:
            return "" if check(request, timeout=timeout) == _SERVING else 'service unhealthy (responded with "NOT_SERVING")'
        except grpc.RpcError as error:
            return _words_of(error)


def _asks_http(address, port, path, timeout):
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
        return "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def _connects(address, port, timeout):
    try:
        socket.create_connection((address, port), timeout).close()
        return ""
    except OSError as error:
        return str(error)


class Probe:
    """One probe of a container: when it is due, and what its last answers amount to."""

    def __init__(self, spec, container, address):
        self._spec, self._address = spec, address
        self._ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
        self._due = time.monotonic() + spec.get("initialDelaySeconds", 0)
        self._passed = self._failed = 0
        self.healthy = None  # None: not known yet
        self.words = ""  # why it failed the last time

    def _ask(self):
        """Empty, or why it fails."""
        spec, timeout = self._spec, self._spec.get("timeoutSeconds", 1)
        if "grpc" in spec:
            return _asks_grpc(self._address, spec["grpc"]["port"], spec["grpc"].get("service") or "", timeout)
        kind = "httpGet" if "httpGet" in spec else "tcpSocket"
        port = self._ports.get(spec[kind]["port"], spec[kind]["port"])
        if kind == "httpGet":
            return _asks_http(self._address, port, spec[kind].get("path", "/"), timeout)
        return _connects(self._address, port, timeout)

    def run_if_due(self):
        """Asks if it is time; `healthy` changes when a threshold is reached."""
        if time.monotonic() < self._due:
            return
        self.words = self._ask()
        passed = not self.words
        self._due = time.monotonic() + self._spec.get("periodSeconds", 10)
        self._passed, self._failed = (self._passed + 1, 0) if passed else (0, self._failed + 1)
        if self._passed >= self._spec.get("successThreshold", 1):
            self.healthy = True
        elif self._failed >= self._spec.get("failureThreshold", 3):
            self.healthy = False
