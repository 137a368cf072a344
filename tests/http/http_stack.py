"""The three processes with the demo model, for tests of the HTTP surface."""
import hashlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
SAMPLE = DEMO / "samples" / "red_circle_blue_star.png"


def key_file(path, **limits_of_key):
    """Writes a file for --api_keys_file; the keys' names, which logs show, tell nothing of them."""
    keys = {f"caller-{number}": {"sha256": hashlib.sha256(key.encode()).hexdigest(), **limits}
            for number, (key, limits) in enumerate(limits_of_key.items())}
    path.write_text(json.dumps({"keys": keys}))


class Stack:
    """Started by the constructor; `port` is that of HTTP, `…_port` those of gRPC. Stop it in any case."""

    def __init__(self, folder, gateway_flags=(), vision_flags=()):
        self._folder = pathlib.Path(folder)
        self.processes = []
        # A file: a pipe that nobody empties would stop the gateway once it is full.
        self._log = tempfile.NamedTemporaryFile("a", suffix=".log")
        self._log_in_the_end = None
        model = [f"--model={DEMO}", "--threads=1", "--log_level=error"]
        try:
            self.vision_port = vision = self._port(self._start("vision_service", *model, *vision_flags))
            self.language_port = language = self._port(self._start("language_service", *model, f"--vision_target=ipv4:127.0.0.1:{vision}"))
            gateway = self._start("gateway", "--http_listen=127.0.0.1:0", f"--vision_target=ipv4:127.0.0.1:{vision}",
                                  f"--language_target=ipv4:127.0.0.1:{language}", *gateway_flags, stderr=self._log)
            self.grpc_port = self._port(gateway)  # waits until it is ready
            self.port = int(re.search(r"serving HTTP on port (\d+)", self.gateway_log())[1])
        except BaseException:
            self.stop()
            raise

    def _start(self, name, *flags, stderr=None):
        process = subprocess.Popen([self._folder / name, "--listen=127.0.0.1:0", "--metrics_listen=", *flags], text=True,
                                   stdout=subprocess.PIPE, stderr=stderr)
        self.processes.append(process)
        return process

    @staticmethod
    def _port(process):
        """Of gRPC, once the process says READY."""
        return int(re.search(r"^READY .*\bport=(\d+)", process.stdout.readline())[1])

    def gateway_log(self):
        """What the gateway has logged until now, or until it was stopped."""
        return self._log_in_the_end or pathlib.Path(self._log.name).read_text(errors="replace")

    def stop(self):
        """The exit statuses, the gateway's first."""
        statuses = []
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            statuses.append(process.returncode)
        self.processes = []
        self._log_in_the_end = self.gateway_log()
        self._log.close()
        return statuses


class KeyedStack(Stack):
    """One whose gateway asks for a key, which is "alice"."""

    def __init__(self, folder):
        self._keys = tempfile.TemporaryDirectory()
        file = pathlib.Path(self._keys.name) / "keys.json"
        key_file(file, alice={})
        super().__init__(folder, [f"--api_keys_file={file}"])

    def stop(self):
        statuses = super().stop()
        self._keys.cleanup()
        return statuses


class StackCase(unittest.TestCase):
    """Three processes of the folder that the command line names, for all tests of the class; each of them ends well."""

    FLAGS = []  # of the gateway

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(sys.argv[1], cls.FLAGS)

    @classmethod
    def tearDownClass(cls):
        assert cls.stack.stop() == [0, 0, 0]
