"""Every alert has a section of the runbook, and every section is an alert's. Run by ctest as `runbook_test`."""
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

    def test_flags_and_metrics_that_it_names_exist(self):
        text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        sources = "".join(path.read_text(encoding="utf-8") for folder in ("gateway", "vision_service", "language_service", "common")
                          for path in (ROOT / folder).glob("*.cc"))
        for flag in re.findall(r"`--(\w+)", text):
            self.assertRegex(sources, rf"ABSL_FLAG\(\s*[\w:<>]+, {flag},", flag)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
