"""The surface vision × language replicas: what the model expects and what the simulation does.

Usage: surface.py BIN_FOLDER SVG; prints the tables of docs/scaling.md and draws the chart.
"""
import pathlib
import sys

from planned import planned
from simulation import Scenario, Simulation

QUESTIONS_PER_SECOND = 4
VISION, LANGUAGE = (4, 5, 6, 8, 12), (3, 4, 6, 8)
SEEDS, ANSWERS = (1, 2, 3), 8000
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 760, 330, 48, 46, 44, 70
COLORS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4fa3")


def measure(diptych):
    """p95 in seconds: {(value, vision, language): (model, simulation)}."""
    surface = {}
    for vision in VISION:
        for language in LANGUAGE:
            scenario = Scenario(vision, language, QUESTIONS_PER_SECOND)
            expected = planned(diptych, scenario)
            runs = [Simulation(scenario, seed).run(ANSWERS) for seed in SEEDS]
            for value in ("first_token_seconds", "answer_seconds"):
                simulated = sum(run[value]["p95"] for run in runs) / len(runs)
                surface[value, vision, language] = expected[value]["p95"], simulated
    return surface


def table(surface, value):
    yield "| vision replicas | " + " | ".join(f"{language} language" for language in LANGUAGE) + " |"
    yield "|---" * (len(LANGUAGE) + 1) + "|"
    for vision in VISION:
        cells = ("{:.1f}, {:.1f} s".format(*surface[value, vision, language]) for language in LANGUAGE)
        yield f"| {vision} | " + " | ".join(cells) + " |"


def panel(surface, value, title, left, width):
    most = 1.05 * max(max(pair) for (name, _, _), pair in surface.items() if name == value)
    x = lambda vision: left + width * (vision - VISION[0]) / (VISION[-1] - VISION[0])
    y = lambda seconds: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * seconds / most
    yield f'<text x="{left}" y="{TOP - 16}" font-weight="bold">{title}</text>'
    for seconds in range(0, int(most) + 1, max(1, round(most / 6))):
        yield f'<line x1="{left}" x2="{left + width}" y1="{y(seconds):.1f}" y2="{y(seconds):.1f}" stroke="#ddd"/>'
        yield f'<text x="{left - 8}" y="{y(seconds) + 4:.1f}" text-anchor="end">{seconds}</text>'
    for vision in VISION:
        yield f'<text x="{x(vision):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{vision}</text>'
    yield f'<text x="{left + width / 2}" y="{HEIGHT - 8}" text-anchor="middle">vision replicas</text>'
    for language, color in zip(LANGUAGE, COLORS):
        points = " ".join(f"{x(vision):.1f},{y(surface[value, vision, language][0]):.1f}" for vision in VISION)
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
        for vision in VISION:
            yield f'<circle cx="{x(vision):.1f}" cy="{y(surface[value, vision, language][1]):.1f}" r="4" fill="{color}"/>'


def chart(surface):
    width = (WIDTH - LEFT - GAP - 130) / 2
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    yield '<rect width="100%" height="100%" fill="#fff"/>'
    yield from panel(surface, "first_token_seconds", "First token, p95 (s)", LEFT, width)
    yield from panel(surface, "answer_seconds", "Whole answer, p95 (s)", LEFT + width + GAP, width)
    for row, (language, color) in enumerate(zip(LANGUAGE, COLORS)):
        yield f'<text x="{WIDTH - 112}" y="{TOP + 18 * row}" fill="{color}">{language} language replicas</text>'
    yield f'<text x="{WIDTH - 112}" y="{TOP + 18 * len(LANGUAGE) + 8}">line: model</text>'
    yield f'<text x="{WIDTH - 112}" y="{TOP + 18 * len(LANGUAGE) + 26}">dot: simulation</text></svg>'


def main():
    surface = measure(pathlib.Path(sys.argv[1]).resolve() / "diptych")
    for value in ("first_token_seconds", "answer_seconds"):
        print(value, *table(surface, value), "", sep="\n")
    furthest = max(abs(model / simulated - 1) for model, simulated in surface.values())
    print(f"furthest apart: {furthest:.0%}")
    pathlib.Path(sys.argv[2]).write_text("\n".join(chart(surface)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
