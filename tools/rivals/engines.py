"""Engines: each loads the model when it is entered, and answers until it is left."""
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services import Services

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
