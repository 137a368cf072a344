"""Pulls from a hub on this host: what comes, where it lies, and what a second pull brings.

Usage: pull_test.py FOLDER_OF_BINARIES; run by ctest as `pull_test`.
"""
import json
import os
import pathlib
import pty
import subprocess
import sys
import time
import unittest

from hub_stub import demo_files
from pulling import DIPTYCH, NAME, WEIGHTS, Cache


class PullTest(unittest.TestCase):
    def test_brings_what_serving_needs_and_nothing_else(self):
        files = {**demo_files(), "pytorch_model.bin": b"pickle", "model.fp16.safetensors": b"x", "onnx/config.json": b"{}",
                 ".hidden.json": b"{}", "README.md": b"words"}
        with Cache(files) as cache:
            pulled = cache.pull()
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            self.assertEqual(pulled.stdout, f"{cache.snapshot()}\n")
            self.assertRegex(pulled.stderr, r"\[pull\] pulling org/name from http://127.0.0.1:\d+: 13 files, 5.\d MB, into ")
            self.assertRegex(pulled.stderr, r"\[pull\] pulled 5.\d MB in .* \(.*/s\), each file checked")
            names = sorted(path.name for path in cache.snapshot().iterdir())
            self.assertNotIn("pytorch_model.bin", names)
            self.assertNotIn("README.md", names)
            self.assertNotIn(".hidden.json", names)
            self.assertNotIn("model.fp16.safetensors", names)
            self.assertFalse((cache.snapshot() / "onnx").exists())
            self.assertEqual(cache.hub.count("storage", "GET", "pytorch_model"), 0)

    def test_the_second_pull_brings_nothing(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            cache.check_whole(self)
            cache.hub.requests.clear()
            again = cache.pull()
            self.assertEqual((again.returncode, again.stderr), (0, "[pull] all of it was here already\n"))
            self.assertEqual(len(cache.hub.requests), 1, "only the revision was asked for")

    def test_a_new_commit_brings_what_changed(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            before = cache.snapshot()
            cache.repo.files["generation_config.json"] = b'{"max_new_tokens": 7}'
            cache.repo.branches["main"] = cache.repo.commit()
            cache.hub.requests.clear()
            self.assertEqual(cache.pull().returncode, 0)
            self.assertEqual(cache.hub.count("storage", "GET"), 0, "the weights were there")
            self.assertEqual((cache.snapshot() / "generation_config.json").read_bytes(), b'{"max_new_tokens": 7}')
            self.assertTrue((before / WEIGHTS).is_file(), "the old snapshot stays")

    def test_a_revision_is_a_branch_with_slashes_or_a_commit(self):
        with Cache() as cache:
            commit = cache.repo.branches["refs/pr/4"] = cache.repo.branches["main"]
            self.assertEqual(cache.pull(name=NAME + "@refs/pr/4").stdout, f"{cache.snapshot()}\n")
            self.assertEqual((cache.stored / "refs/refs/pr/4").read_text(), commit)
            self.assertFalse((cache.stored / "refs/main").exists())
            self.assertEqual(cache.pull(name=f"{NAME}@{commit}").returncode, 0)

    def test_a_model_that_was_renamed(self):
        with Cache() as cache:
            cache.hub.renamed["org/before"] = NAME
            pulled = cache.pull(name="org/before")
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            self.assertIn("models--org--before", pulled.stdout)

    def test_shards_come_by_their_index(self):
        files = {name: data for name, data in demo_files().items() if name != WEIGHTS}
        shards = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 1000 for i in (1, 2)}
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files.update(shards, **{WEIGHTS + ".index.json": json.dumps(index).encode(), "other.safetensors": b"other"})
        with Cache(files) as cache:
            self.assertEqual(cache.pull().returncode, 0)
            for name, data in shards.items():
                self.assertEqual((cache.snapshot() / name).read_bytes(), data)
            self.assertFalse((cache.snapshot() / "other.safetensors").exists())

    def test_two_pulls_share_one_download(self):
        with Cache() as cache:
            cache.hub.fault("storage", WEIGHTS, 1, lambda h, data: time.sleep(1) or False)
            first = cache.start("pull", NAME)
            while not cache.hub.count("storage", "GET"):
                time.sleep(0.02)
            second = cache.start("pull", NAME)
            for process in (first, second):
                out, err = process.communicate(timeout=60)
                self.assertEqual((process.returncode, out), (0, f"{cache.snapshot()}\n"), err)
            self.assertIn("another pull of it is under way", err)
            self.assertIn("all of it was here already", err)
            self.assertEqual(cache.hub.count("storage", "GET"), 1)
            cache.check_whole(self)

    def test_a_broken_snapshot_is_completed(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag(WEIGHTS)).unlink()
            (cache.snapshot() / "vocab.json").unlink()
            self.assertEqual(cache.pull().returncode, 0)
            cache.check_whole(self)

    def test_progress_has_rate_and_time_left(self):
        def slowly(handler, data):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            for begin in range(0, len(data), 500_000):
                handler.wfile.write(data[begin:begin + 500_000])
                time.sleep(0.15)

        with Cache() as cache:
            cache.hub.fault("storage", WEIGHTS, 1, slowly)
            terminal, other_side = pty.openpty()
            process = subprocess.Popen([DIPTYCH, "pull", NAME], stdout=subprocess.PIPE, stderr=other_side, env=cache.environment(COLUMNS="120"))
            os.close(other_side)
            shown = b""
            while True:
                try:
                    piece = os.read(terminal, 4096)
                except OSError:
                    break
                shown += piece
            self.assertEqual(process.wait(), 0)
            process.stdout.close()
            os.close(terminal)
            self.assertRegex(shown.decode(), r"\[#+-+\] +\d+ %  [\d.]+ MB of 5.\d MB  [\d.]+ MB/s  \d+ s left")

    def test_json(self):
        with Cache() as cache:
            pulled = cache.pull("--json")
            reply = json.loads(pulled.stdout)
            self.assertEqual((reply["model"], reply["folder"]), (NAME, str(cache.snapshot())))
            self.assertIn("progress", json.loads(pulled.stderr.splitlines()[0]))
            error = json.loads(cache.pull("--json", name="org/other").stderr)["error"]
            self.assertEqual(error["reason"], "MODEL_UNKNOWN")

    def test_paths_are_read_as_the_python_client_reads_them(self):
        for written in ("~/mine", "$HOME/mine", "${HOME}/mine"):
            with self.subTest(written), Cache() as cache:
                cache.repo.private = True
                (pathlib.Path(cache.folder.name) / "mine").mkdir()
                (pathlib.Path(cache.folder.name) / "mine/token").write_text("hf_secret")
                pulled = cache.pull(HOME=cache.folder.name, HF_TOKEN_PATH=written + "/token", HF_HUB_CACHE=written + "/hub")
                self.assertEqual(pulled.returncode, 0, pulled.stderr)
                self.assertTrue(pulled.stdout.startswith(f"{cache.folder.name}/mine/hub/models--"), pulled.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
