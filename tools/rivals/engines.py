"""Engines: each loads the model when it is entered, and answers until it is left."""
import base64
import glob
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services import Services

from .cpu import descendants
from .questions import PROMPT, data_url

_PATIENCE = 3600  # seconds


class Ours(Services):
    """Gateway, language and vision service on this host."""

    parallel = True

    def __init__(self, model: Path, dtype: str):
        super().__init__(model, f"--dtype={dtype}", patience=_PATIENCE)
        self.name = f"Diptych, {dtype}"

    def _ask(self, image: bytes, tokens: int) -> None:
        content = [dict(type="image_url", image_url=dict(url=data_url(image))), dict(type="text", text=PROMPT)]
        body = dict(messages=[dict(role="user", content=content)], max_tokens=tokens, min_tokens=tokens, temperature=0)
        made = self.post("/v1/chat/completions", body)["usage"]["completion_tokens"]
        if made != tokens:
            raise RuntimeError(f"{self.name}: {made} tokens in place of {tokens}")

    def ask(self, images: list[bytes], tokens: int) -> None:
        """All at once."""
        with ThreadPoolExecutor(len(images)) as pool:
            list(pool.map(lambda image: self._ask(image, tokens), images))


class _Process:
    """An engine in a process of its own, which reads questions as JSON lines and says "done" after each."""

    def __init__(self, name: str, command: list, environment: dict = {}):
        self.name, self._command, self._environment = name, command, environment

    def __enter__(self):
        self._process = subprocess.Popen(self._command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         env={**os.environ, **self._environment})
        self._wait()
        return self

    def __exit__(self, *_):
        self._process.communicate("", timeout=120)

    @property
    def pids(self) -> list[int]:
        return [self._process.pid, *descendants(self._process.pid)]

    def _wait(self) -> None:
        if not self._process.stdout.readline().startswith("done"):
            raise RuntimeError(f"{self.name} ended")

    def _send(self, images: list[bytes], tokens: int) -> None:
        question = dict(prompt=PROMPT, images=[base64.b64encode(image).decode() for image in images], tokens=tokens)
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        self._wait()


class Transformers(_Process):
    """transformers, which takes one question at a time, as the notebook does."""

    parallel = False

    def __init__(self, model: Path, dtype: str):
        super().__init__(f"transformers, {dtype}", [sys.executable, "-W", "ignore", "-m", "rivals.transformers_engine", model, dtype])

    def ask(self, images: list[bytes], tokens: int) -> None:
        """One after the other."""
        for image in images:
            self._send([image], tokens)


class Vllm(_Process):
    """vLLM on the CPU, in its own Python environment (scripts/rivals.sh --install-vllm)."""

    parallel = True
    _PYTHON = Path(".deps/vllm/bin/python")

    def __init__(self, model: Path, dtype: str):
        libraries = [*glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4"), *glob.glob(str(Path(".deps/vllm").resolve() / "lib/libiomp5.so"))]
        super().__init__(f"vLLM, {dtype}", [self._PYTHON, "-m", "rivals.vllm_engine", model, dtype],
                         dict(LD_PRELOAD=":".join(libraries), VLLM_CPU_OMP_THREADS_BIND=f"0-{os.cpu_count() - 1}", VLLM_CPU_KVCACHE_SPACE="2",
                              HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1"))

    @classmethod
    def installed(cls) -> bool:
        return cls._PYTHON.exists()

    def ask(self, images: list[bytes], tokens: int) -> None:
        """All at once."""
        self._send(images, tokens)
