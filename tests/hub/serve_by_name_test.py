"""`diptych serve ORG/NAME`: pulls what is missing, then serves it; a mistake starts nothing.

Usage: serve_by_name_test.py FOLDER_OF_BINARIES; run by ctest as `serve_by_name_test`.
"""
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

from hub_stub import DEMO, Repo
from pulling import DIPTYCH, NAME, WEIGHTS, Cache, with_config


class ServeByNameTest(unittest.TestCase):
    def start(self, cache, *arguments, **variables):
        return self.await_ready(cache.start("serve", *arguments, **variables))

    def await_ready(self, process):
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Stop: Ctrl-C" in line:
                break
        else:
            self.fail(f"it ended before it was ready: {''.join(lines)}{process.communicate(timeout=60)[1]}")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, "".join(lines)

    def ask(self, ready):
        server = next(line.split()[1] for line in ready.splitlines() if line.startswith("gateway "))
        return subprocess.run([DIPTYCH, "ask", DEMO / "samples" / "red_circle_blue_star.png", "-q", "What color is the circle?", "--server",
                               server, "--json"], capture_output=True, text=True, timeout=60)

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        return err

    def test_pulls_then_serves_and_the_second_time_pulls_nothing(self):
        with Cache() as cache:
            process, ready = self.start(cache, NAME)
            self.assertRegex(ready, r"language_service .* org/name ")
            answer = json.loads(self.ask(ready).stdout)
            self.assertEqual((answer["answer"], answer["model"]), ("red", NAME))
            self.assertIn("[serve] pulled 5.", self.stop(process))
            cache.check_whole(self)
            cache.hub.requests.clear()
            process, ready = self.start(cache, NAME, HF_HUB_OFFLINE="1")
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            self.assertEqual(cache.hub.requests, [], "the hub was asked again")

    def test_make_serve_takes_names_and_runs_beside_another(self):
        script = DEMO.parents[1] / "scripts" / "serve.sh"
        if DIPTYCH.parent != DEMO.parents[1] / "build" / "release" / "bin":
            self.skipTest("make serve runs what lies in build/release")
        with Cache() as cache:
            make = lambda: subprocess.Popen([script], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                            env=cache.environment(MODEL=NAME))
            first, ready = self.await_ready(make())
            second, other_ready = self.await_ready(make())
            logs = [line.split()[1] for text in (ready, other_ready) for line in text.splitlines() if line.startswith("Logs:")]
            self.assertEqual((len(logs), len(set(logs))), (2, 2), "each has a folder of logs of its own")
            self.assertEqual(cache.hub.count("storage", "GET"), 1, "the second pulls nothing")
            for text in (ready, other_ready):
                self.assertIn("red", self.ask(text).stdout)
            self.assertIn("[serve] pulled 5.", self.stop(first))
            self.stop(second)

    def test_a_misspelt_name_and_a_wrong_family_start_nothing(self):
        with Cache() as cache:
            cache.hub.repos["org/t5"] = Repo(with_config(lambda c: c["text_config"].update(model_type="t5")))
            for name, part in (("org/nmae", "MODEL_UNKNOWN"), ("org/t5", "BLIP-2 with an OPT decoder"), ("/no/such/folder", "no folder")):
                with self.subTest(name):
                    served = subprocess.run([DIPTYCH, "serve", name], capture_output=True, text=True, timeout=60, env=cache.environment())
                    self.assertEqual((served.returncode, served.stdout), (1, ""))
                    self.assertEqual(len(served.stderr.splitlines()), 1, served.stderr)
                    self.assertIn(part, served.stderr)
                    self.assertFalse(cache.path.exists())

    def test_a_tier_alone_never_downloads(self):
        with Cache() as cache:
            def refused(tier):
                ended = subprocess.run([DIPTYCH.parent / tier, f"--model={NAME}", "--log_level=error"], capture_output=True, text=True, timeout=60,
                                       env=cache.environment())
                self.assertEqual((ended.returncode, ended.stdout, len(ended.stderr.splitlines())), (1, "", 1), ended.stderr)
                self.assertIn(f"diptych pull {NAME}", ended.stderr)
                return ended.stderr

            for tier in ("vision_service", "language_service"):
                self.assertIn(str(cache.path), refused(tier))
                self.assertFalse(cache.path.exists())
            self.assertEqual(cache.hub.requests, [])
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag("config.json")).unlink()
            cache.hub.requests.clear()
            self.assertIn("config.json is a link to nothing", refused("vision_service"))
            self.assertEqual(cache.hub.requests, [])

    def test_a_broken_link_is_repaired_or_named(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag(WEIGHTS)).unlink()
            served = subprocess.run([DIPTYCH, "serve", NAME], capture_output=True, text=True, timeout=60,
                                    env=cache.environment(HF_ENDPOINT="http://127.0.0.1:1"))
            self.assertEqual((served.returncode, len(served.stderr.splitlines())), (1, 1), served.stderr)
            self.assertIn("model.safetensors is a link to nothing", served.stderr)
            self.assertIn("cannot be reached", served.stderr)
            process, ready = self.start(cache, NAME)
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            cache.check_whole(self)

    def test_a_read_only_cache_that_holds_it_is_enough(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            frozen = pathlib.Path(cache.folder.name) / "frozen"
            shutil.copytree(cache.path, frozen, symlinks=True)
            shutil.rmtree(frozen / ".locks")
            before = sorted(str(path) for path in frozen.rglob("*"))
            process, ready = self.start(cache, NAME, HF_HUB_CACHE=str(frozen), HF_ENDPOINT="http://127.0.0.1:1")
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            self.assertEqual(sorted(str(path) for path in frozen.rglob("*")), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
