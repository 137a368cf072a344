"""The surface on the real services: bench/replica_surface beside the model and the simulation.

Usage: measured.py BUILD_FOLDER [QUESTIONS]; needs the target replica_surface; prints a table of docs/scaling.md.
"""
import json
import pathlib
import subprocess
import sys

from planned import planned
from simulation import Scenario, Simulation

# The calibrated times of bench/replica_surface.cc.
TIMES = {"image_seconds": 0.225, "step_seconds": 0.0235, "token_seconds": 0.0015, "qformer_seconds": 0.025, "query_tokens": 16}
NEW_TOKENS = 32
POINTS = ((1, 1, 2.5), (2, 1, 4), (2, 2, 6), (4, 2, 8), (4, 3, 12))  # vision, language, questions a second


def measure(program, vision, language, per_second, questions):
    done = subprocess.run([program, str(vision), str(language), str(per_second), str(questions)], capture_output=True, text=True,
                          check=True)
    return json.loads(done.stdout)


def calibrated(program):
    """TIMES with what questions that come one by one take beside them on this machine: a step's own time, and the rest."""
    alone = measure(program, 1, 1, 0.4, 20)
    first, answer = alone["first_token_seconds"]["p50"], alone["answer_seconds"]["p50"]
    prompt = TIMES["token_seconds"] * alone["prompt_tokens"]
    step = (answer - first) / (NEW_TOKENS - 1) - TIMES["token_seconds"]
    other = first - TIMES["image_seconds"] - TIMES["qformer_seconds"] - step - prompt
    print(f"alone: {1000 * step:.1f} ms a step, {1000 * other:.0f} ms a question beside it", file=sys.stderr, flush=True)
    text_tokens = round(alone["prompt_tokens"]) - TIMES["query_tokens"]
    return TIMES | {"step_seconds": step, "other_seconds": max(other, 0), "text_tokens": text_tokens}


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    program = build / "bin" / "replica_surface"
    questions = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    times = calibrated(program)
    print("| vision, language | questions/s | first token: mean, p95: services | model | simulation | answer: services | model | simulation |")
    print("|---" * 8 + "|")
    for vision, language, per_second in POINTS:
        services = measure(program, vision, language, per_second, questions)
        scenario = Scenario(vision, language, per_second, **times)
        three = services, planned(build / "bin" / "diptych", scenario), Simulation(scenario).run(20_000)
        cells = [f'{one[key]["mean"]:.2f}, {one[key]["p95"]:.2f} s' for key in ("first_token_seconds", "answer_seconds") for one in three]
        print(f"| {vision}, {language} | {per_second} | " + " | ".join(cells) + " |", flush=True)
        print(f"{services['overruns']} of {services['passes']} passes took longer than calibrated", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
