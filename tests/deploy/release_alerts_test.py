"""The alerts of a release speak of that release alone, by promtool: others may be scraped by the same Prometheus.

Run by ctest as `release_alerts_test`. Skipped (77) without Helm's library or promtool, which scripts/setup.sh --tests fetches.
"""
import json
import pathlib
import re
import sys
import tempfile
import unittest

import chart
import promtool

ALERTS = (chart.CHART / "files" / "alerts.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((chart.CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
METRIC = r"\b(?:(?:diptych|process)_\w+|up)\b(?!\()"


def expressions_of_alerts():
    return re.findall(r"expr:(.*?)\n +(?:for|labels):", ALERTS, re.DOTALL)


def rules(namespace, name):
    """The groups of the PrometheusRule of a release."""
    things = chart.objects(chart.template(None, "metrics.rules.enabled=true", name=name, namespace=namespace))
    return next(thing["spec"] for thing in things if thing["kind"] == "PrometheusRule")


def series(namespace, fullname):
    """A release of which nothing works: a process that is down, a gateway that reaches nothing, errors and visual tokens that are refused."""
    of = lambda tier: f'namespace="{namespace}", pod="{fullname}-{tier}-5d9c7b-x2x", job="diptych-{tier}", instance="10.0.0.1:9000"'  # noqa: E731
    return [(f'up{{{of("vision")}}}', "0x60"), (f'diptych_tier_reachable{{{of("gateway")}, tier="language"}}', "0x60"),
            (f'diptych_requests_total{{{of("gateway")}, code="INTERNAL"}}', "0+30x60"),
            (f'diptych_vision_protocol_errors_total{{{of("language")}, reason="checksum"}}', "0+1x60"), (f'diptych_ejected_replicas{{{of("language")}, tier="vision"}}', "1x60")]


NAMES = ("DiptychProcessDown", "DiptychLanguageTierUnreachable", "DiptychErrorsOfOurs", "DiptychRogueVisualTokens", "DiptychReplicaEjected")


@unittest.skipUnless(promtool.PROGRAM, promtool.MISSING)
class ReleaseAlertsTest(unittest.TestCase):
    def alarms(self, groups, given):
        """The labels of the alarms that stand after ten minutes of what is `given`, by the alert's name."""
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            (place / "rules.json").write_text(json.dumps(groups), encoding="utf-8")
            tests = [{"interval": "15s", "input_series": [{"series": name, "values": values} for name, values in given],
                      "alert_rule_test": [{"eval_time": "10m", "alertname": name, "exp_alerts": []} for name in NAMES]}]
            (place / "tests.json").write_text(json.dumps({"rule_files": ["rules.json"], "evaluation_interval": "15s", "tests": tests}), encoding="utf-8")
            said = promtool.complaints("test", "rules", str(place / "tests.json"))
        return {name: dict(re.findall(r'(\w+)="([^"]*)"', labels)) for name, labels in re.findall(r"alertname:? (\w+).*?got:\[\s*0:\s*Labels:\{([^}]*)\}", said, re.DOTALL)}

    def test_they_name_their_release(self):
        found = self.alarms(rules("here", "diptych"), series("here", "diptych"))
        self.assertEqual(set(found), set(NAMES))
        for labels in found.values():
            self.assertEqual((labels["namespace"], labels["release"]), ("here", "diptych"))

    def test_they_are_silent_on_other_releases(self):
        for namespace, fullname in (("there", "diptych"), ("here", "other-diptych"), ("here", "diptych-two")):
            self.assertEqual(self.alarms(rules("here", "diptych"), series(namespace, fullname)), {}, f"{namespace}/{fullname}")

    def test_a_release_of_another_name_has_its_own(self):
        self.assertEqual(set(self.alarms(rules("here", "two"), series("here", "two-diptych"))), set(NAMES))


class SelectorsTest(unittest.TestCase):
    def test_each_selector_of_an_alert_begins_with_the_job(self):
        found = [selector for expression in expressions_of_alerts() for selector in re.findall(METRIC + r"(\{[^}]*\})?", expression)]
        self.assertGreater(len(found), 15)
        self.assertEqual([selector for selector in found if not selector.startswith("{job=")], [])

    def test_each_panel_shows_the_chosen_namespace(self):
        expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
        found = [selector for expression in expressions for selector in re.findall(METRIC + r"(\{[^}]*\})?", expression)]
        self.assertGreater(len(found), 40)
        self.assertEqual([selector for selector in found if 'namespace=~"$namespace"' not in selector], [])
        self.assertIn("namespace", [variable["name"] for variable in DASHBOARD["templating"]["list"]])


if __name__ == "__main__":
    if not chart.is_possible():
        print("skipped: Helm's library is not there; scripts/setup.sh --tests fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
