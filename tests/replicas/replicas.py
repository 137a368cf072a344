"""Several replicas of the real processes with the demo model on this machine, and questions to their gateway."""
import base64
import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
from fault_stack import free_port  # noqa: E402, F401
DEMO = ROOT / "models" / "demo"
SAMPLE = DEMO / "samples" / "red_circle_blue_star.png"


class Process:
    def __init__(self, binary, *flags):
        self._process = subprocess.Popen([binary, "--log_level=off", *flags], text=True, stdout=subprocess.PIPE)
        self.ready = self._process.stdout.readline()

    def metric(self, sample):
        """The sum over the samples whose name and labels match the pattern."""
        port = int(re.search(r"metrics_port=(\d+)", self.ready)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(rf"^{sample} (\S+)$", page, re.M))

    def requests(self):
        """Those that it has answered."""
        return self.metric(r'diptych_requests_total\{code="OK".*\}')

    def kill(self):
        self._process.kill()
        self._process.communicate(timeout=60)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=60)


class ReplicasTestCase(unittest.TestCase):
    binaries = None  # their folder; set it before the tests run

    def setUp(self):
        self.processes = []

    def tearDown(self):
        for process in reversed(self.processes):
            process.stop()

    def start(self, name, *flags):
        process = Process(self.binaries / name, *flags)
        self.processes.append(process)
        return process

    def tier(self, name, address, port, *flags):
        return self.start(name, f"--model={DEMO}", "--threads=1", f"--listen={address}:{port}",
                          "--metrics_listen=127.0.0.1:0", "--max_connection_age=1s", *flags)

    def gateway(self, language_target, *flags):
        self.http_port = free_port()
        return self.start("gateway", "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0",
                          f"--http_listen=127.0.0.1:{self.http_port}", f"--language_target={language_target}", *flags)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60)

    def ask(self, image=False, cache_breaker=0):
        """The status of one question."""
        content = [{"type": "text", "text": "What color is the circle?"}]
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 2}
        if image:
            data = base64.b64encode(SAMPLE.read_bytes()).decode()
            body["image_options"] = {"max_side": 100 + cache_breaker}  # another image to every cache
            content.insert(0, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}})
        connection = self.connect()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse().status
