"""The surface on the real services: bench/replica_surface beside the model and the simulation.

Usage: measured.py BUILD_FOLDER [QUESTIONS [RUNS]]; needs the targets diptych and replica_surface; prints a table of docs/scaling.md: medians of the
runs. Three points are measured at a time, since replicas mostly sleep. A run in which the machine stood still is made again.
"""
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys

from planned import planned
from simulation import Scenario, Simulation

# The calibrated times of bench/replica_surface.cc.
TIMES = {"image_seconds": 0.225, "step_seconds": 0.0235, "token_seconds": 0.0015, "qformer_seconds": 0.025, "query_tokens": 16}
NEW_TOKENS = 32
ALONE = 7  # questions that nobody shares the services with
POINTS = ((1, 1, 2.5), (2, 1, 4), (2, 2, 6), (4, 2, 8), (4, 3, 12))  # vision, language, questions a second


STOOD_STILL = 0.4  # seconds that a pass ended late
VALUES = [(key, value) for key in ("first_token_seconds", "answer_seconds") for value in ("mean", "p95")]


def measure(program, vision, language, per_second, questions, seed=1):
    while True:
        done = subprocess.run([program, *map(str, (vision, language, per_second, questions, seed))], capture_output=True, text=True,
                              check=True)
        run = json.loads(done.stdout)
        if run["latest_seconds"] < STOOD_STILL:
            return run
        print(f"again: a pass ended {run['latest_seconds']:.1f} s late", file=sys.stderr, flush=True)


def medians(runs):
    values = {"first_token_seconds": {}, "answer_seconds": {}}
    for key, value in VALUES:
        values[key][value] = statistics.median(run[key][value] for run in runs)
    return values


def calibrated(alone):
    """TIMES with what a question that is alone takes beside them on this machine: a step's own time, and the rest."""
    first, answer = (statistics.median(run[key]["p50"] for run in alone) for key in ("first_token_seconds", "answer_seconds"))
    prompt_tokens = round(alone[0]["prompt_tokens"])
    step = (answer - first) / (NEW_TOKENS - 1) - TIMES["token_seconds"]
    other = first - TIMES["image_seconds"] - TIMES["qformer_seconds"] - step - TIMES["token_seconds"] * prompt_tokens
    print(f"alone: {1000 * step:.1f} ms a step, {1000 * other:.0f} ms a question beside it", file=sys.stderr, flush=True)
    return TIMES | {"step_seconds": step, "other_seconds": max(other, 0), "text_tokens": prompt_tokens - TIMES["query_tokens"]}


def row(diptych, point, runs, times):
    services, scenario = medians(runs), Scenario(*point, **times)
    model = planned(diptych, scenario)
    simulation = medians([Simulation(scenario, seed).run(20_000) for seed in (1, 2, 3)])
    cells = [f'{one[key]["mean"]:.2f}, {one[key]["p95"]:.2f} s' for key in ("first_token_seconds", "answer_seconds")
             for one in (services, model, simulation)]
    cells.append(", ".join(f"{model[key][value] / services[key][value]:.2f}" for key, value in VALUES))
    vision, language, per_second = point
    return f"| {vision}, {language} | {per_second} | " + " | ".join(cells) + " |"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    program = build / "bin" / "replica_surface"
    questions = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 3))
    with concurrent.futures.ThreadPoolExecutor(3) as lanes:
        points = [lanes.submit(lambda point=point: [measure(program, *point, questions, seed) for seed in seeds]) for point in POINTS]
        times = calibrated([measure(program, 1, 1, 1, 1) for _ in range(ALONE)])
    print("| vision, language | questions/s | first token: mean, p95: services | model | simulation | answer: services | model | simulation | "
          "model by services |")
    print("|---" * 9 + "|")
    for point, runs in zip(POINTS, points):
        print(row(build / "bin" / "diptych", point, runs.result(), times), flush=True)


if __name__ == "__main__":
    main()
