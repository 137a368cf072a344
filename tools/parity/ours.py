"""Runs jobs in blip2_taps, the binary of tests/parity that does with a checkpoint what the services do."""
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file

from .reference import Case

BINARY = Path("build/release/bin/blip2_taps")


@dataclass
class Run:
    results: list[dict]
    load_seconds: float = 0
    peak_memory_bytes: int = 0
    taps: list[dict] = field(default_factory=list)  # for jobs that asked for them, else empty


def run(jobs: list[dict], *, model: Path | None = None, tokenizer: Path | None = None, dtype: str = "float32",
        threads: int = 1, device: str = "cpu") -> Run:
    """Raises RuntimeError with the binary's own line if it fails, and with the job if one fails."""
    source = f"--model={model}" if model else f"--tokenizer={tokenizer}"
    done = subprocess.run([BINARY, source, f"--dtype={dtype}", f"--threads={threads}", f"--device={device}"], text=True, capture_output=True,
                          input="".join(json.dumps(job) + "\n" for job in jobs), encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError(f"{BINARY.name} {source}: {done.stderr.strip()[-400:]}")
    first, *results, last = [json.loads(line) for line in done.stdout.split("\n") if line]
    for job, result in zip(jobs, results, strict=True):
        if "error" in result:
            raise RuntimeError(f"{job.get('image')}: {result['error']}")
    return Run(results, first["load_seconds"], last["peak_memory_bytes"],
               [load_file(job["taps"]) if job.get("taps") else {} for job in jobs])


def ask(case: Case, taps: Path | None = None) -> dict:
    options = ("image_size", "text", "max_new_tokens", "min_new_tokens", "repetition_penalty", "num_beams", "length_penalty",
               "temperature", "top_k", "top_p", "seed")
    return dict({name: getattr(case, name) for name in options}, kind="ask", image=case.image and str(case.image),
                taps=taps and str(taps))
