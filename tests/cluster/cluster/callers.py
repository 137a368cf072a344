"""Callers of the gateway: bounded load of questions, by gRPC and by HTTP, with what became of each."""
import base64
import collections
import http.client
import json
import os
import random
import struct
import subprocess
import threading
import time
import zlib

from . import network, paths

import grpc  # noqa: E402  paths puts it on the path
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: E402

# What docs/deploy.md tells gRPC callers to set: all replicas in turn, only those that serve, and another one for a call that was lost with
# its replica. Not the health of "readiness": it ends before name servers know of the replicas that come instead.
SERVICE_CONFIG = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "diptych.v1.GatewayService"},
    "methodConfig": [{"name": [{"service": "diptych.v1.GatewayService"}], "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})
CHANNEL_OPTIONS = [("grpc.service_config", SERVICE_CONFIG), ("grpc.keepalive_time_ms", 2000), ("grpc.keepalive_timeout_ms", 4000),
                   ("grpc.http2.max_pings_without_data", 0), ("grpc.dns_min_time_between_resolutions_ms", 500),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000)]


def _messages():
    """The message classes of diptych.v1 by name."""
    made = subprocess.run(["protoc", f"-I{paths.REPOSITORY / 'proto'}", "--include_imports", "--descriptor_set_out=/dev/stdout",
                           "diptych/v1/gateway.proto"], cwd=paths.REPOSITORY / "proto", capture_output=True, check=True).stdout
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"diptych.v1.{name}"))


def noise_png(side=64):
    """An image that nobody has sent before."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def sample_png():
    """Shows a red circle."""
    return (paths.CHART / "files" / "red_circle.png").read_bytes()


class Gateway:
    """Asks through the gateway's pods, which it finds by name."""

    def __init__(self, namespace, release="diptych"):
        message = _messages()
        self._request = message("AskRequest")
        target = f"dns://{network.HOST}:53/{release}-gateway-pods.{namespace}.svc.cluster.local:7000"
        self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        self._ask = self._channel.unary_unary("/diptych.v1.GatewayService/Ask", request_serializer=self._request.SerializeToString,
                                              response_deserializer=message("AskResponse").FromString)

    def ask(self, image=None, question=None, prompt=None, tokens=8, least=0, image_size=0, timeout=60):
        """The text of an answer."""
        request = self._request()
        if image is not None:
            request.question.images.add().data = image
        if image_size:
            request.question.image_options.image_size = image_size
        if question is not None:
            request.question.turns.add(role=1, text=question)
        if prompt is not None:
            request.question.prompt = prompt
        request.question.generation.max_new_tokens = tokens
        if least:
            request.question.generation.min_new_tokens = least
        return self._ask(request, timeout=timeout).answer.text

    def close(self):
        self._channel.close()


def ask_http(address, port, image, question, timeout=60, tls=None):
    """The text of an answer by OpenAI's protocol, with `tls` (an ssl.SSLContext) by HTTPS."""
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    body = {"model": "demo", "max_tokens": 8, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]}]}
    connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=tls) if tls else http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}: {content[:200]}")
    return json.loads(content)["choices"][0]["message"]["content"]


class Load:
    """Some callers, each with one question at a time, until stopped. Thread-safe."""

    def __init__(self, ask, callers):
        """`ask` asks one question and raises if it fails."""
        self._ask, self._stopped, self._lock = ask, threading.Event(), threading.Lock()
        self.answered, self.failures = 0, collections.Counter()
        self._recent = collections.deque(maxlen=400)  # (when, seconds)
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self):
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._ask()
            except Exception as error:  # pylint: disable=broad-except
                words = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.RpcError) else str(error)
                with self._lock:
                    self.failures[words[:160]] += 1
                time.sleep(0.1)
                continue
            with self._lock:
                self.answered += 1
                self._recent.append((time.monotonic(), time.monotonic() - began))

    def p95(self, seconds=5):
        """Of the answers of the last `seconds`; None if there were none."""
        with self._lock:
            recent = sorted(took for when, took in self._recent if when > time.monotonic() - seconds)
        return recent[int(0.95 * (len(recent) - 1))] if recent else None

    def stop(self):
        """Waits for the questions in flight and returns (answered, failures)."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.answered, dict(self.failures)


IMAGE_SIZE = 336  # three times the demo model's side: more work for the vision transformer


def image_question(gateway):
    """Much work for the vision tier, little for the language tier."""
    return lambda: gateway.ask(image=noise_png(), tokens=1, image_size=IMAGE_SIZE)


def text_question(gateway, tokens=60):
    """Work for the language tier alone."""
    return lambda: gateway.ask(prompt=f"Question: how many shapes are there, {random.randrange(10**9)}? Answer:", tokens=tokens, least=tokens)
