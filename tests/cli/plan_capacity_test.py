"""`diptych plan-capacity`: its expectations against the simulation of tools/capacity/, and what it says to impossible wishes.

Usage: plan_capacity_test.py BIN_FOLDER; run by ctest as `plan_capacity_test`.
"""
import itertools
import json
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "capacity"))
from planned import planned
from simulation import Scenario, Simulation

DIPTYCH = pathlib.Path(sys.argv[1]).resolve() / "diptych"
DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
TOLERANCE = 0.15
# Two cores of a processor, as in docs/benchmarks/2026-11-28.md, and a card some fifty times as fast.
CARD = {"image_seconds": 0.005, "pass_seconds": 0.02, "token_seconds": 0.0002, "step_seconds": 0.02, "qformer_seconds": 0.005,
        "other_seconds": 0.005, "vision_batch": 32}
SCENARIOS = [
    Scenario(2, 1, 0.8),
    Scenario(2, 2, 1.2),
    Scenario(4, 2, 2),
    Scenario(4, 3, 3),
    Scenario(8, 6, 6),
    Scenario(16, 8, 10),
    Scenario(16, 12, 12),
    Scenario(4, 3, 3, length_variation=1),
    Scenario(4, 3, 4, hit_rate=0.5, length_variation=0.5),
    Scenario(8, 3, 2, images=2),
    Scenario(2, 3, 3, text_share=0.7, length_variation=0.5),
    Scenario(6, 4, 3, new_tokens=4),
    Scenario(2, 2, 30, new_tokens=48, **CARD),
    Scenario(2, 4, 60, **CARD),
    Scenario(6, 6, 4),
    Scenario(8, 3, 4),
    Scenario(4, 3, 3, affinity="none"),
    Scenario(8, 6, 6, affinity="none"),
    Scenario(2, 2, 30, new_tokens=48, affinity="none", **CARD),
]


def run(*flags):
    return subprocess.run([DIPTYCH, "plan-capacity", *flags], capture_output=True, text=True, check=False)


def simulated(scenario):
    """Mean over seeds, so that chance moves p95 by a few per cent only."""
    runs = [Simulation(scenario, seed).run(4000) for seed in (1, 2)]
    return {key: {name: sum(one[key][name] for one in runs) / len(runs) for name in runs[0][key]} for key in runs[0]}


class Model(unittest.TestCase):
    def test_expects_what_the_simulation_does(self):
        for scenario in SCENARIOS:
            expected, measured = planned(DIPTYCH, scenario), simulated(scenario)
            for key in ("first_token_seconds", "answer_seconds"):
                for name in ("mean", "p95"):
                    with self.subTest(scenario=scenario, value=f"{key} {name}"):
                        self.assertAlmostEqual(expected[key][name] / measured[key][name], 1, delta=TOLERANCE)

    def test_the_simulation_notices_a_tier_that_cannot_keep_up(self):
        """Where the model refuses, the queue of the simulation grows with the length of the run."""
        overloaded = Scenario(2, 4, 3)
        self.assertIsNone(planned(DIPTYCH, overloaded))
        short, long = (Simulation(overloaded).run(answers)["answer_seconds"]["p95"] for answers in (500, 4000))
        self.assertGreater(long, 2 * short)


def table_rows(page, head):
    """The cells of the rows of each table of docs/ that begins with `head`; of `page#heading` those after it."""
    page, _, heading = page.partition("#")
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        text = text[re.search(f"^#+ {heading.replace('-', ' ')}$", text, re.M | re.I).end():]
    lines = text.splitlines()
    for begin in (i for i, line in enumerate(lines) if line.startswith(head)):
        columns = [cell.strip() for cell in lines[begin].strip("|").split("|")]
        rows = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2:])
        yield columns, [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


class Docs(unittest.TestCase):
    def test_the_surface_is_what_the_model_says(self):
        tables = list(table_rows("scaling.md", "| vision replicas | 3 language"))
        self.assertEqual(len(tables), 2)
        for (columns, rows), value in zip(tables, ("first_token_seconds", "answer_seconds")):
            for row in rows:
                for column, cell in zip(columns[1:], row[1:]):
                    plan = planned(DIPTYCH, Scenario(int(row[0]), int(column.split()[0]), 4))
                    self.assertEqual(cell.split(",")[0], f"{plan[value]['p95']:.1f}", (value, row[0], column))

    def test_the_cost_of_a_deployment_is_what_the_command_plans(self):
        [(_, rows)] = table_rows("deploy.md", "| questions a second | vision, language")
        xeon = re.search(r"`(--image_seconds=[^`]+)`", (DOCS / "deploy.md").read_text(encoding="utf-8")).group(1).split()
        for load, *told in rows:
            flags = [f"--questions_per_second={load.split(',')[0]}", f"--hit_rate={0.8 if 'four of five' in load else 0}", *(xeon if "Xeon" in load else [])]
            plan = json.loads(run("--json", "--first_token_p95=5s", "--answer_p95=12s", *flags).stdout)
            cores = plan["vision_units"] + plan["language_units"]
            self.assertEqual(told, [f"{plan['vision_replicas']}, {plan['language_replicas']}", f"{cores:.0f}", f"{plan['price_per_hour']:.2f}",
                                    f"{plan['price_per_1000_questions']:.2f}"])

    def test_the_cost_of_1000_questions_follows_from_the_published_figures(self):
        [(_, rows)] = table_rows("deploy.md", "| two cores of")
        for _, new_images, same_image, source in rows:
            columns, figures = next(table_rows(re.search(r"\((.+)\)", source).group(1), "| | transformers, float32"))
            seconds = {row[0]: float(row[columns.index("Diptych, int8")].split()[0]) for row in figures if row[0].startswith("8 at once")}
            for told, asked in ((new_images, "8 at once, new images"), (same_image, "8 at once, one new image")):
                rate, hours, cost = (float(word.removesuffix(" h")) for word in told.split(", "))
                self.assertAlmostEqual(rate, 8 / seconds[asked], delta=0.05 if rate > 1 else 0.005)
                self.assertAlmostEqual(hours, 1000 * seconds[asked] / 8 / 3600, delta=0.006)
                self.assertAlmostEqual(cost, 2 * 0.04 * 1000 * seconds[asked] / 8 / 3600, delta=0.0006)


class Command(unittest.TestCase):
    def test_what_it_plans_keeps_the_targets_in_the_simulation(self):
        done = run("--json", "--questions_per_second=5", "--first_token_p95=4s", "--answer_p95=14s")
        self.assertEqual(done.returncode, 0, done.stderr)
        plan = json.loads(done.stdout)
        measured = simulated(Scenario(plan["vision_replicas"], plan["language_replicas"], 5))
        self.assertLess(measured["first_token_seconds"]["p95"], 4 * (1 + TOLERANCE))
        self.assertLess(measured["answer_seconds"]["p95"], 14 * (1 + TOLERANCE))
        self.assertAlmostEqual(plan["price_per_1000_questions"], plan["price_per_hour"] * 1000 / (5 * 3600))

    def test_the_table_names_tiers_times_and_price(self):
        done = run("--questions_per_second", "2", "--vision_unit", "GPU", "--vision_units", "1", "--gpu_price", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("vision", "language", "GPU", "4 cores", "first token", "p95", "for 1,000 questions", "an hour"):
            self.assertIn(word, done.stdout)

    def test_values_that_cannot_be_are_refused_by_name(self):
        for flags, told in {
            ("--hit_rate=1.5",): '--hit_rate: takes a number from 0 to 1, not "1.5"',
            ("--hit_rate=nan",): '--hit_rate: takes a number such as 0.5, not "nan"',
            ("--questions_per_second=0",): "--questions_per_second",
            ("--image_seconds=0",): "--image_seconds",
            ("--images=-1",): "--images",
            ("--answer_p95=soon",): "takes a time such as 30s",
            ("--vision_replicas=3",): "--language_replicas go together",
            ("--language_unit=GPU",): "--gpu_price tells",
            ("--language_unit=TPU",): "--language_unit",
            ("--affinity=prefix",): "--affinity",
        }.items():
            with self.subTest(flags=flags):
                done = run(*flags)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertIn(told, done.stderr)

    def test_targets_that_nothing_keeps_are_told_with_what_can_be(self):
        done = run("--json", "--first_token_p95=100ms")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no number of replicas keeps the targets", json.loads(done.stderr)["error"]["message"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
