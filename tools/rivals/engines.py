"""Engines: each loads the model when it is entered, and answers until it is left."""
import base64
import glob
import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services import Services

from .cpu import descendants
from .questions import Question, data_url

_PATIENCE = 3600  # seconds


class Ours(Services):
    """Gateway, language and vision service on this host."""

    parallel, sees = True, True  # several questions at once, images

    def __init__(self, model: Path, dtype: str):
        super().__init__(model, f"--dtype={dtype}", patience=_PATIENCE)
        self.name = f"Diptych, {dtype}"

    def _ask(self, question: Question, tokens: int) -> None:
        content = [dict(type="text", text=question.words)]
        if question.image:
            content.insert(0, dict(type="image_url", image_url=dict(url=data_url(question.image))))
        body = dict(messages=[dict(role="user", content=content)], max_tokens=tokens, min_tokens=tokens, temperature=0)
        made = self.post("/v1/chat/completions", body)["usage"]["completion_tokens"]
        if made != tokens:
            raise RuntimeError(f"{self.name}: {made} tokens in place of {tokens}")

    def ask(self, questions: list[Question], tokens: int) -> None:
        """All at once."""
        with ThreadPoolExecutor(len(questions)) as pool:
            list(pool.map(lambda question: self._ask(question, tokens), questions))


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

    def _send(self, questions: list[Question], tokens: int) -> None:
        said = [dict(prompt=each.prompt, image=each.image and base64.b64encode(each.image).decode()) for each in questions]
        self._process.stdin.write(json.dumps(dict(questions=said, tokens=tokens)) + "\n")
        self._process.stdin.flush()
        self._wait()


class Transformers(_Process):
    """transformers, which takes one question at a time, as the notebook does."""

    parallel, sees = False, True

    def __init__(self, model: Path, dtype: str):
        super().__init__(f"transformers, {dtype}", [sys.executable, "-W", "ignore", "-m", "rivals.transformers_engine", model, dtype])

    def ask(self, questions: list[Question], tokens: int) -> None:
        """One after the other."""
        for question in questions:
            self._send([question], tokens)


class Vllm(_Process):
    """vLLM on the CPU, in its own Python environment (scripts/rivals.sh --install-vllm)."""

    parallel, sees = True, True
    _PYTHON = Path(".deps/vllm/bin/python")

    def __init__(self, model: Path, dtype: str):
        libraries = [*glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4"), *glob.glob(str(Path(".deps/vllm").resolve() / "lib/libiomp5.so"))]
        super().__init__(f"vLLM, {dtype}", [self._PYTHON, "-m", "rivals.vllm_engine", model, dtype],
                         dict(LD_PRELOAD=":".join(libraries), VLLM_CPU_OMP_THREADS_BIND=f"0-{os.cpu_count() - 1}", VLLM_CPU_KVCACHE_SPACE="2",
                              HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1"))

    @classmethod
    def installed(cls) -> bool:
        return cls._PYTHON.exists()

    def ask(self, questions: list[Question], tokens: int) -> None:
        """All at once."""
        self._send(questions, tokens)


class CTranslate2(_Process):
    """CTranslate2, which serves the language half alone (scripts/rivals.sh --install-ctranslate2). Its own form of the weights is made once."""

    parallel, sees = True, False

    def __init__(self, model: Path, dtype: str):
        weights = Path("build/bench/ctranslate2").resolve() / f"{model.resolve().name}-{dtype}"
        super().__init__(f"CTranslate2, {dtype}", [sys.executable, "-W", "ignore", "-m", "rivals.ctranslate2_engine", model, weights, dtype])

    @classmethod
    def installed(cls) -> bool:
        return importlib.util.find_spec("ctranslate2") is not None

    def ask(self, questions: list[Question], tokens: int) -> None:
        """All at once."""
        self._send(questions, tokens)
