"""The three services with a checkpoint, asked over HTTP."""
import base64
import json
import re
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

BINARIES = Path("build/release/bin")


class Services:
    """Use with `with`: started at its beginning, stopped at its end."""

    def __init__(self, model: Path):
        self._model = model
        self._processes = []

    def __enter__(self):
        try:
            tier = [f"--model={self._model}", "--threads=1", "--log_level=error"]
            vision = self._port(self._start("vision_service", *tier))
            language = self._port(self._start("language_service", *tier, f"--vision_target=ipv4:127.0.0.1:{vision}"))
            with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody empties would stop the gateway
                gateway = self._start("gateway", "--http_listen=127.0.0.1:0", f"--vision_target=ipv4:127.0.0.1:{vision}",
                                      f"--language_target=ipv4:127.0.0.1:{language}", stderr=log)
                self._port(gateway)
                log.seek(0)
                self._http = int(re.search(r"serving HTTP on port (\d+)", log.read())[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    def _start(self, name, *flags, stderr=None):
        process = subprocess.Popen([BINARIES / name, "--listen=127.0.0.1:0", "--metrics_listen=", *flags], text=True,
                                   stdout=subprocess.PIPE, stderr=stderr)
        self._processes.append(process)
        return process

    @staticmethod
    def _port(process):
        return int(re.search(r"^READY .*\bport=(\d+)", process.stdout.readline())[1])

    def _post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self._http}{path}", json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def analyze(self, image: Path, image_size: int = 0) -> dict:
        """AnalyzeImageResponse with all maps."""
        return self._post("/v1/diptych/analyze", dict(
            image=base64.b64encode(image.read_bytes()).decode(), cls_attention=True, qformer_attention=True,
            prepared_image=True, image_options=_size(image_size)))

    def ask(self, image: Path, question: str | None, image_size: int, max_tokens: int) -> dict:
        """The chat completion of one question, or of the caption, with relevance."""
        picture = dict(type="image_url", image_url=dict(
            url="data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()))
        text = [dict(type="text", text=question)] if question else []
        return self._post("/v1/chat/completions", dict(
            messages=[dict(role="user", content=[picture, *text])], max_tokens=max_tokens, return_relevance=True,
            logprobs=True, image_options=_size(image_size)))


def _size(image_size: int) -> dict:
    return dict(image_size=image_size) if image_size else {}
