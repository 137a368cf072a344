"""The surface on the real services: bench/replica_surface beside the simulation of the very same arrivals, and the model.

Usage: measured.py BUILD_FOLDER [QUESTIONS [SEEDS]]; needs the targets diptych and replica_surface; prints a table of docs/scaling.md. Three points are
measured at a time, since replicas mostly sleep; the default takes six minutes. A run in which the machine stood still is made again.
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
TIMES = {"image_seconds": 0.225, "step_seconds": 0.0235, "token_seconds": 0.0015, "qformer_seconds": 0.025, "query_tokens": 16,
         "vision_batch": 2}
NEW_TOKENS = 32
ALONE = 15  # questions that nobody shares the services with
POINTS = ((1, 1, 2.5), (2, 1, 4), (2, 2, 6), (4, 2, 8), (4, 3, 12))  # vision, language, questions a second
LANES = ((0,), (1, 4), (2, 3))  # points that are measured one after the other; the lanes take about equally long

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


def means(runs):
    """Of each of VALUES."""
    return [statistics.mean(run[key][value] for run in runs) for key, value in VALUES]


def calibrated(alone):
    """TIMES with what a question that is alone takes beside them on this machine: a step's own time, and the rest."""
    first, answer = (alone[key]["p50"] for key in ("first_token_seconds", "answer_seconds"))
    prompt_tokens = round(alone["prompt_tokens"])
    step = (answer - first) / (NEW_TOKENS - 1) - TIMES["token_seconds"]
    other = first - TIMES["image_seconds"] - TIMES["qformer_seconds"] - step - TIMES["token_seconds"] * prompt_tokens
    print(f"alone: {1000 * step:.1f} ms a step, {1000 * other:.0f} ms a question beside it", file=sys.stderr, flush=True)
    return TIMES | {"step_seconds": step, "other_seconds": max(other, 0), "text_tokens": prompt_tokens - TIMES["query_tokens"]}


def row(diptych, point, runs, times):
    scenario = Scenario(*point, **times)
    services = means(runs)
    replayed = means([Simulation(scenario, seed).replay(run["arrivals"], run["counted"]) for run in runs for seed in (1, 2, 3)])
    long = means([Simulation(scenario, seed).run(20_000) for seed in (1, 2, 3)])
    model = means([planned(diptych, scenario)])
    pairs = [f"{seconds[i]:.2f}, {seconds[i + 1]:.2f} s" for i in (0, 2) for seconds in (services, replayed, long, model)]
    ratios = [", ".join(f"{one / other:.2f}" for one, other in zip(*two)) for two in ((replayed, services), (model, services))]
    vision, language, per_second = point
    return f"| {vision}, {language} | {per_second} | " + " | ".join(pairs + ratios) + " |"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    program = build / "bin" / "replica_surface"
    questions = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    seeds = range(1, 1 + (int(sys.argv[3]) if len(sys.argv) > 3 else 2))
    times = calibrated(measure(program, 1, 1, 0, ALONE))
    with concurrent.futures.ThreadPoolExecutor(len(LANES)) as pool:
        lanes = list(pool.map(lambda lane: [(point, [measure(program, *POINTS[point], questions, seed) for seed in seeds]) for point in lane], LANES))
    measured = "services | simulation, same arrivals | simulation, other arrivals | model"
    print(f"| vision, language | questions/s | first token: mean, p95: {measured} | answer: {measured} | simulation ÷ services | model ÷ services |")
    print("|---" * 12 + "|")
    for point, runs in sorted(one for lane in lanes for one in lane):
        print(row(build / "bin" / "diptych", POINTS[point], runs, times), flush=True)
        late = max(run["latest_seconds"] for run in runs)
        print(f"latest pass {1000 * late:.0f} ms late; longer by itself {[run['overruns'] for run in runs]} of {[run['passes'] for run in runs]}", file=sys.stderr)


if __name__ == "__main__":
    main()
