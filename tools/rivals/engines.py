"""Engines: each loads the model when it is entered, and answers until it is left."""
import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .questions import PROMPT, data_url

_BINARIES = Path("build/release/bin")
_PATIENCE = 3600  # seconds


class Ours:
    """Gateway, language and vision service on this host, asked over HTTP."""

    parallel = True

    def __init__(self, model: Path, dtype: str):
        self.name = f"Diptych, {dtype}"
        self._model, self._dtype = model, dtype
        self._processes = []

    def __enter__(self):
        try:
            tier = [f"--model={self._model}", f"--dtype={self._dtype}", "--log_level=error"]
            vision_port = _port(self._start("vision_service", *tier))
            language_port = _port(self._start("language_service", *tier, f"--vision_target=ipv4:127.0.0.1:{vision_port}"))
            with tempfile.TemporaryFile("w+") as log:
                gateway = self._start("gateway", "--http_listen=127.0.0.1:0", f"--vision_target=ipv4:127.0.0.1:{vision_port}",
                                      f"--language_target=ipv4:127.0.0.1:{language_port}", stderr=log)
                _port(gateway)
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

    def _ask(self, image: bytes, tokens: int) -> None:
        content = [dict(type="image_url", image_url=dict(url=data_url(image))), dict(type="text", text=PROMPT)]
        body = dict(messages=[dict(role="user", content=content)], max_tokens=tokens, min_tokens=tokens, temperature=0)
        request = urllib.request.Request(f"http://127.0.0.1:{self._http}/v1/chat/completions", json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
            made = json.load(reply)["usage"]["completion_tokens"]
        if made != tokens:
            raise RuntimeError(f"{self.name}: {made} tokens in place of {tokens}")

    def ask(self, images: list[bytes], tokens: int) -> None:
        """All at once."""
        with ThreadPoolExecutor(len(images)) as pool:
            list(pool.map(lambda image: self._ask(image, tokens), images))


class Transformers:
    """transformers in a process of its own, which takes one question at a time, as the notebook does."""

    parallel = False

    def __init__(self, model: Path, dtype: str):
        self.name = f"transformers, {dtype}"
        self._model, self._dtype = model, dtype

    def __enter__(self):
        self._process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "rivals.transformers_engine", self._model, self._dtype],
                                         text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._answer()
        return self

    def __exit__(self, *_):
        self._process.communicate("", timeout=120)

    @property
    def pids(self) -> list[int]:
        return [self._process.pid]

    def _answer(self) -> None:
        line = self._process.stdout.readline()
        if not line.startswith("done"):
            raise RuntimeError(f"{self.name} ended")

    def ask(self, images: list[bytes], tokens: int) -> None:
        """One after the other."""
        for image in images:
            self._process.stdin.write(json.dumps(dict(image=data_url(image).split(",")[1], tokens=tokens)) + "\n")
            self._process.stdin.flush()
            self._answer()


def _port(process) -> int:
    return int(re.search(r"^READY .*\bport=(\d+)", process.stdout.readline())[1])
