"""Holds compose.yaml and the Containerfile against the programs and files that they name.

Usage: compose_test.py BIN_FOLDER; run by ctest as `compose_test`. Skipped (77) without PyYAML, which tests/cluster/setup.sh fetches.
"""
import functools
import pathlib
import re
import subprocess
import sys
import unittest

import chart
import promtool

BINARIES = pathlib.Path(sys.argv[1]).resolve()
FOLDER = chart.ROOT / "deploy" / "compose"
CONTAINERFILE = (chart.ROOT / "deploy" / "images" / "Containerfile").read_text(encoding="utf-8")
PROGRAMS = {"vision": "vision_service", "language": "language_service", "gateway": "gateway"}


@functools.cache
def flags_of(program):
    said = subprocess.run([BINARIES / program, "--help"], text=True, capture_output=True, check=False).stdout
    return set(re.findall(r"^ +--(\w+) \(", said, re.MULTILINE))


def flag(argument):
    return argument.removeprefix("--").partition("=")[0]


class ComposeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import yaml  # pylint: disable=import-outside-toplevel
        cls.services = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]

    def test_services_run_our_programs_with_flags_that_they_have(self):
        for name, program in PROGRAMS.items():
            command = self.services[name]["command"]
            self.assertEqual(command[0], program)
            for argument in command[1:]:
                self.assertIn(flag(argument), flags_of(program))

    def test_they_run_without_rights_on_a_read_only_root(self):
        for name in PROGRAMS:
            self.assertTrue(self.services[name]["read_only"])
            self.assertEqual(self.services[name]["cap_drop"], ["ALL"])

    def test_images_are_targets_of_the_containerfile(self):
        targets = set(re.findall(r"^FROM .* AS ([\w-]+)$", CONTAINERFILE, re.MULTILINE))
        for name in PROGRAMS:
            self.assertIn(self.services[name]["build"]["target"], targets)
            self.assertIn(f"diptych-{self.services[name]['build']['target']}:", self.services[name]["image"])

    def test_only_loopback_is_published(self):
        for service in self.services.values():
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_mounted_files_exist(self):
        for service in self.services.values():
            for volume in service.get("volumes", []):
                if volume.startswith("."):
                    self.assertTrue((FOLDER / volume.split(":")[0]).exists(), volume)

    def test_prometheus_finds_each_service_under_its_job(self):
        config = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
        for name in PROGRAMS:
            port = next(a for a in self.services[name]["command"] if a.startswith("--metrics_listen=")).rpartition(":")[2]
            self.assertRegex(config, rf"job_name: diptych-{name}\n.*names: \[{name}\], type: A, port: {port}\b")

    @unittest.skipUnless(promtool.PROGRAM, promtool.MISSING)
    def test_promtool_finds_no_fault(self):
        self.assertEqual(promtool.complaints("check", "config", "--syntax-only", FOLDER / "prometheus.yml"), "")


class ContainerfileTest(unittest.TestCase):
    def test_images_start_our_programs_with_flags_that_they_have(self):
        commands = re.findall(r'^CMD \["(\w+)", (.*)\]$', CONTAINERFILE, re.MULTILINE)
        self.assertEqual(len(commands), 3)
        for program, arguments in commands:
            for argument in re.findall(r'"--(\w+)=', arguments):
                self.assertIn(argument, flags_of(program))

    def test_every_image_runs_as_an_ordinary_user(self):
        stages = re.split(r"^FROM ", CONTAINERFILE, flags=re.MULTILINE)
        images = [stage for stage in stages if stage.startswith("scratch")]
        self.assertEqual(len(images), 3)
        for stage in images:
            self.assertIn("USER 65532:65532", stage)

    def test_files_that_it_copies_exist(self):
        for source in re.findall(r"^COPY (?!--from|\. \.)(\S+)", CONTAINERFILE, re.MULTILINE):
            self.assertTrue(source.startswith(("build/", ".deps/")) or (chart.ROOT / source).exists(), source)


if __name__ == "__main__":
    if not (chart.PACKAGES / "yaml").exists():
        print("skipped: PyYAML is not there; tests/cluster/setup.sh fetches it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
