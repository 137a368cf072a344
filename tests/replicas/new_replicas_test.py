"""Replicas that come and go behind a name, with the real processes: who gets requests, counted by each replica.

Usage: new_replicas_test.py FOLDER_OF_BINARIES; run by ctest as `new_replicas_test`.
"""
import base64
import concurrent.futures
import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import unittest

from name_server import NameServer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
SAMPLE = DEMO / "samples" / "red_circle_blue_star.png"
BINARIES = pathlib.Path(sys.argv[1])
SOON = 10  # seconds after which a new replica has its share


def free_port():
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


class Process:
    def __init__(self, name, *flags):
        self._process = subprocess.Popen([BINARIES / name, "--log_level=off", *flags], text=True, stdout=subprocess.PIPE)
        self.ready = self._process.stdout.readline()

    def requests(self):
        """Those that it has answered."""
        port = int(re.search(r"metrics_port=(\d+)", self.ready)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(r'^diptych_requests_total\{code="OK".*\} (\S+)$', page, re.M))

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)


class ReplicasTest(unittest.TestCase):
    def setUp(self):
        self.processes = []

    def tearDown(self):
        for process in reversed(self.processes):
            process.stop()

    def start(self, name, *flags):
        process = Process(name, *flags)
        self.processes.append(process)
        return process

    def tier(self, name, address, port, *flags):
        return self.start(name, f"--model={DEMO}", "--threads=1", f"--listen={address}:{port}",
                          "--metrics_listen=127.0.0.1:0", "--max_connection_age=1s", *flags)

    def gateway(self, language_target, *flags):
        self.http_port = free_port()
        self.start("gateway", "--listen=127.0.0.1:0", "--metrics_listen=", f"--http_listen=127.0.0.1:{self.http_port}",
                   f"--language_target={language_target}", *flags)

    def ask(self, image=False, cache_breaker=0):
        """The status of one question."""
        content = [{"type": "text", "text": "What color is the circle?"}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 2}
        if image:
            data = base64.b64encode(SAMPLE.read_bytes()).decode()
            body["image_options"] = {"max_side": 100 + cache_breaker}  # an image that no cache holds
            content.insert(0, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}})
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse().status

    def ask_until(self, condition, **question):
        end, statuses = time.monotonic() + SOON, []
        while time.monotonic() < end and not condition():
            statuses.append(self.ask(cache_breaker=len(statuses), **question))
        self.assertEqual(set(statuses), {200})
        self.assertTrue(condition())

    def test_a_new_language_replica_gets_its_share_and_one_that_goes_loses_nothing(self):
        port, names = free_port(), NameServer(["127.0.0.1"])
        first = self.tier("language_service", "127.0.0.1", port)
        self.gateway(f"dns://127.0.0.1:{names.port}/language.test:{port}")
        self.ask_until(lambda: first.requests() >= 3)
        second = self.tier("language_service", "127.0.0.2", port)
        names.addresses = ["127.0.0.1", "127.0.0.2"]
        self.ask_until(lambda: second.requests() >= 3)
        names.addresses = ["127.0.0.2"]
        self.processes.remove(first)
        first.stop()
        before = second.requests()
        self.ask_until(lambda: second.requests() >= before + 5)
        names.close()

    def test_a_new_vision_replica_gets_its_share(self):
        port, names = free_port(), NameServer(["127.0.0.1"])
        first = self.tier("vision_service", "127.0.0.1", port)
        language = free_port()
        self.tier("language_service", "127.0.0.1", language,
                  f"--vision_target=dns://127.0.0.1:{names.port}/vision.test:{port}")
        self.gateway(f"127.0.0.1:{language}")
        self.ask_until(lambda: first.requests() >= 2, image=True)
        second = self.tier("vision_service", "127.0.0.2", port)
        names.addresses = ["127.0.0.1", "127.0.0.2"]
        self.ask_until(lambda: second.requests() >= 2, image=True)
        names.close()

    def test_images_wait_for_a_vision_tier_that_wakes(self):
        port, names = free_port(), NameServer([])
        language = free_port()
        self.tier("language_service", "127.0.0.1", language, "--wait_for_vision",
                  f"--vision_target=dns://127.0.0.1:{names.port}/vision.test:{port}")
        self.gateway(f"127.0.0.1:{language}", "--request_timeout=60s")
        self.assertEqual(self.ask(), 200, "text needs no vision tier")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, image=True)
            time.sleep(2)
            self.assertFalse(answer.done(), "it waits")
            self.tier("vision_service", "127.0.0.1", port)
            names.addresses = ["127.0.0.1"]
            self.assertEqual(answer.result(), 200)
        names.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
