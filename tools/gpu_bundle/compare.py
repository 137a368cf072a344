"""One step of the bundle: ours against transformers on the same device.

    PYTHONPATH=tools python3 tools/compare.py parity|services|transformers MODEL DEVICE

Prints Markdown tables. `parity` exits with 1 if a token differs.
"""
import pathlib
import statistics
import subprocess
import sys
import time

BIN = pathlib.Path("build/release/bin")
SAMPLES = sorted(pathlib.Path("models/demo/samples").glob("*.png"))
QUESTIONS = (None, "Question: What color is the circle? Answer:", "Question: How many shapes are there? Answer:",
             "Describe the image.")
ROUNDS = 5
# Questions at once and tokens of an answer, each question about an image of its own.
LOADS_ON_CARD, LOADS_ON_CPU = ((1, 16), (64, 16), (64, 32), (64, 4)), ((1, 16), (4, 16))


def parity(model, device):
    from parity import ours
    from parity.reference import Case, Reference
    cases = [Case(image, text) for image in SAMPLES for text in QUESTIONS] + [Case(None, text) for text in QUESTIONS[1:]]
    answers = ours.run([ours.ask(case) for case in cases], model=model, device=device).results
    reference = Reference(model, device=device)
    same = [answer["token_ids"] == reference.generate(case)[0] for case, answer in zip(cases, answers)]
    print(f"| compared | same |\n|---|---|\n| float32 greedy answers, {model.name}, on {device} | {sum(same)} of {len(same)} |")
    return 0 if all(same) else 1


def run(*command):
    print(f"\n{' '.join(map(str, command))}", flush=True)
    return subprocess.run(command, timeout=240).returncode


def services(model, device):
    from services import Services
    on_card = device != "cpu"
    with Services(model, f"--device={device}") as served:
        server = f"--server=127.0.0.1:{served.grpc_port}"
        worst = run(BIN / "diptych", "bench", "cost", server, "--repeat", "15" if on_card else "3")
        for at_once, tokens in LOADS_ON_CARD if on_card else LOADS_ON_CPU:
            worst |= run(BIN / "diptych", "bench", "load", server, "--requests", str(at_once * (8 if on_card else 2)), "--concurrency", str(at_once),
                         "--max_new_tokens", str(tokens), "--min_new_tokens", str(tokens))
    return worst


def transformers(model, device):
    import torch
    from parity.reference import Case, Reference
    dtype = torch.bfloat16 if device == "cpu" else torch.float16
    reference = Reference(model, dtype, device=device)
    print(f"| transformers, {str(dtype).removeprefix('torch.')} on {device}, one image, so many tokens | ms, median of {ROUNDS} | first |\n|---|---|---|")
    for tokens in sorted({tokens for _, tokens in (LOADS_ON_CPU if device == "cpu" else LOADS_ON_CARD)}):
        case = Case(SAMPLES[0], QUESTIONS[1], max_new_tokens=tokens, min_new_tokens=tokens)
        seconds = []
        for _ in range(1 + ROUNDS):
            begin = time.perf_counter()
            reference.generate(case)  # its ids are on the host when it returns
            seconds.append(time.perf_counter() - begin)
        print(f"| {tokens} | {1e3 * statistics.median(seconds[1:]):.1f} | {1e3 * seconds[0]:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](pathlib.Path(sys.argv[2]), sys.argv[3]))
