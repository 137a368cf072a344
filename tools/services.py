"""The three services of this project with a checkpoint, asked over HTTP."""
import json
import re
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

_BINARIES = Path("build/release/bin")


class Services:
    """Use with `with`: started at its beginning, stopped at its end. `patience`: seconds for one request."""

    def __init__(self, model: Path, *tier_flags: str, vision_flags: tuple[str, ...] = (), patience: int = 120):
        self._tier_flags = (f"--model={model}", "--log_level=error", *tier_flags)
        self._vision_flags = vision_flags
        self._patience = patience
        self._processes = []

    def __enter__(self):
        try:
            vision = f"--vision_target=ipv4:127.0.0.1:{_port(self._start('vision_service', *self._tier_flags, *self._vision_flags))}"
            language = _port(self._start("language_service", *self._tier_flags, vision, "--nice=10"))  # as `diptych serve` does
            with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody empties would stop the gateway
                self.grpc_port = _port(self._start("gateway", "--http_listen=127.0.0.1:0", vision, f"--language_target=ipv4:127.0.0.1:{language}",
                                  stderr=log))
                log.seek(0)
                self._http = int(re.search(r"serving HTTP on port (\d+)", log.read())[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)

    def _start(self, name, *flags, stderr=None):
        process = subprocess.Popen([_BINARIES / name, "--listen=127.0.0.1:0", "--metrics_listen=", *flags], text=True,
                                   stdout=subprocess.PIPE, stderr=stderr)
        self._processes.append(process)
        return process

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self._http}{path}", json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=self._patience) as reply:
            return json.load(reply)


def _port(process) -> int:
    """Of gRPC, once the process says READY."""
    return int(re.search(r"^READY .*\bport=(\d+)", process.stdout.readline())[1])
