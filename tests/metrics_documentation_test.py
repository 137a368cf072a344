"""Compares what the three processes show to Prometheus with what is written about it.

Usage: metrics_documentation_test.py VISION_SERVICE LANGUAGE_SERVICE GATEWAY; run by ctest as `metrics_documentation_test`. With promtool, which
scripts/setup.sh --tests fetches, the pages, the alert rules and the dashboard's expressions are checked by it, too.
"""
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "deploy"))
import promtool  # noqa: E402  pylint: disable=wrong-import-position

BINARIES = [pathlib.Path(argument).resolve() for argument in sys.argv[1:4]]
CHART_FILES = ROOT / "deploy" / "helm" / "diptych" / "files"
DEMO = str(ROOT / "models" / "demo")
OURS = re.compile(r"\b(?:diptych|process)_[a-z_]+|\bvllm:[a-z_0-9]+")


def start(binary, *flags):
    process = subprocess.Popen([binary, "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", *flags], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ready = process.stdout.readline()
    port = re.search(r" port=(\d+)", ready).group(1)
    metrics_port = re.search(r" metrics_port=(\d+)", ready).group(1)
    return process, port, metrics_port



class MetricsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        vision, language, gateway = BINARIES
        cls.processes, cls.pages = [], {}
        model = ["--model=" + DEMO, "--threads=1"]
        cls.run_server("vision", vision, *model)
        cls.run_server("language", language, *model, f"--vision_target=127.0.0.1:{cls.ports['vision']}",
                       "--metrics_compat=vllm")
        cls.run_server("gateway", gateway, "--http_listen=", f"--vision_target=127.0.0.1:{cls.ports['vision']}",
                       f"--language_target=127.0.0.1:{cls.ports['language']}")

    ports = {}

    @classmethod
    def run_server(cls, name, binary, *flags):
        process, port, metrics_port = start(binary, *flags)
        cls.processes.append(process)
        cls.ports[name] = port
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60) as page:
            cls.pages[name] = page.read().decode()

    @classmethod
    def tearDownClass(cls):
        for process in cls.processes:
            process.send_signal(signal.SIGTERM)
        for process in cls.processes:
            process.communicate(timeout=60)

    def shown(self, name=None):
        pages = [self.pages[name]] if name else self.pages.values()
        return {m for page in pages for m in re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)}

    def samples(self):
        """The names that an expression can use: of histograms those with a suffix."""
        return {m for page in self.pages.values() for m in re.findall(r"^([a-z_:0-9]+)[{ ]", page, re.MULTILINE)}

    def test_the_documentation_lists_what_is_shown(self):
        text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
        rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
        listed = {name for row in rows for name in OURS.findall(row[1])}
        self.assertEqual(listed, self.shown())
        for row in rows:  # name, type, labels, processes, meaning
            if len(row) < 7:
                continue
            for name in OURS.findall(row[1]):
                self.assertTrue(any(f"# TYPE {name} {row[2].strip()}\n" in page for page in self.pages.values()), name)
                processes = {p for p, page in self.pages.items() if f"# TYPE {name} " in page}
                wanted = set(self.pages) if row[4].strip() == "all" else set(row[4].replace(" ", "").split(","))
                self.assertEqual(processes, wanted, name)

    def expressions(self):
        """Those of the dashboard."""
        dashboard = json.loads((CHART_FILES / "dashboard.json").read_text(encoding="utf-8"))
        return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]

    def test_dashboard_and_alerts_use_what_is_shown(self):
        expressions = self.expressions()
        self.assertGreater(len(expressions), 20)
        alerts = (CHART_FILES / "alerts.yml").read_text(encoding="utf-8")
        rules = re.findall(r"expr:(.*?)(?:\n +for:|\n +labels:)", alerts, re.DOTALL)
        self.assertGreater(len(rules), 8)
        for expression in expressions + rules:
            for name in OURS.findall(expression):
                self.assertIn(name, self.samples(), expression)

    def test_each_metric_has_a_help_text_and_base_units(self):
        for page in self.pages.values():
            for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
                self.assertRegex(page, rf"(?m)^# HELP {name} \S.*\.$")
                self.assertEqual(kind == "counter", name.endswith("_total"), name)
                self.assertNotRegex(name, r"_(milliseconds|ms|microseconds|kb|mib|percent)(_|$)")

    def test_no_path_or_address_in_a_label(self):
        for page in self.pages.values():
            for value in re.findall(r'="((?:[^"\\]|\\.)*)"', page):
                self.assertNotIn("/", value)
                self.assertNotIn("127.0.0.1", value)

    def test_vllm_names_are_shown_on_request_only(self):
        self.assertTrue(any(name.startswith("vllm:") for name in self.shown("language")))
        self.assertFalse(any(name.startswith("vllm:") for name in self.shown("gateway") | self.shown("vision")))

    @unittest.skipUnless(promtool.PROGRAM, promtool.MISSING)
    def test_promtool_finds_no_fault(self):
        for name, page in self.pages.items():
            ours = "".join(line + "\n" for line in page.splitlines() if "vllm:" not in line)  # those names are not ours to mend
            self.assertEqual(promtool.complaints("check", "metrics", stdin=ours), "", name)
        for command in (["check", "rules", CHART_FILES / "alerts.yml"], ["check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml"],
                        ["test", "rules", ROOT / "tests" / "deploy" / "alerts_test.yml"]):
            self.assertEqual(promtool.complaints(*command), "")

    @unittest.skipUnless(promtool.PROGRAM, promtool.MISSING)
    def test_the_dashboards_expressions_are_promql(self):
        rules = [{"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m").replace("$namespace", ".*")} for number, expression in enumerate(self.expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            self.assertEqual(promtool.complaints("check", "rules", file.name), "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
