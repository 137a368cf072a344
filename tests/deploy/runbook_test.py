"""Every alert has a section of the runbook, and every section is an alert's; values and metrics that the guides name exist. Run by ctest as `runbook_test`."""
import json
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class RunbookTest(unittest.TestCase):
    def test_every_alert_says_what_to_do(self):
        alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy/helm/diptych/files/alerts.yml").read_text(encoding="utf-8"))
        text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        sections = dict(re.findall(r"^## (Diptych\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
        self.assertGreater(len(alerts), 10)
        self.assertEqual(list(sections), alerts)
        for name, section in sections.items():
            self.assertIn("**Do**", section, name)

    def test_flags_that_it_names_exist(self):
        text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        sources = "".join(path.read_text(encoding="utf-8") for folder in ("gateway", "vision_service", "language_service", "common")
                          for path in (ROOT / folder).glob("*.cc"))
        for flag in re.findall(r"`--(\w+)", text):
            self.assertRegex(sources, rf"ABSL_FLAG\(\s*[\w:<>]+, {flag},", flag)

    def test_panels_and_values_that_it_names_exist(self):
        text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        dashboard = json.loads((ROOT / "deploy/helm/diptych/files/dashboard.json").read_text(encoding="utf-8"))
        panels = re.findall(r'"([A-Z][^"\n]+)"', text)
        self.assertGreater(len(panels), 4)
        self.assertLessEqual(set(panels), {panel["title"] for panel in dashboard["panels"]})
        values = set(re.findall(r"`((?:\w+\.)+\w+)`", text)) - {"alerts.yml", "dashboard.json"}
        self.assertGreater(len(values), 3)
        for value in values:
            self.assertTrue(any(has_value(f"{block}{value}") for block in ("", "gateway.", "vision.", "language.", "language.autoscaling.")), value)

    def test_values_and_metrics_that_the_guides_name_exist(self):
        known = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
        for guide in ("deploy", "runbook", "scaling"):
            text = re.sub(r"```.*?```", "", (ROOT / f"docs/{guide}.md").read_text(encoding="utf-8"), flags=re.DOTALL)
            values = set(re.findall(r"`((?:\w+\.)+\w+)(?:: \w+)?`", text))
            for value in (value for value in values if not re.search(r"\.(crt|key|ya?ml|json)$", value)):
                self.assertTrue(any(has_value(f"{block}{value}") for block in ("", "gateway.", "vision.", "language.", "language.autoscaling.")), f"{guide}: {value}")
            for metric in re.findall(r"\bdiptych_[a-z_]+\b", text):
                self.assertIn(f"`{metric}`", known, guide)


def has_value(path):
    """Whether the chart has a value of this name; below what takes anything, any."""
    schema = json.loads((ROOT / "deploy/helm/diptych/values.schema.json").read_text(encoding="utf-8"))
    node = schema
    for name in path.split("."):
        node = schema["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if "properties" not in node:
            return node.get("type") == "object"
        if name not in node["properties"]:
            return False
        node = node["properties"][name]
    return True


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
