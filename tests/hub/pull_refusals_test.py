"""What `diptych pull` refuses: each mistake is one line with its remedy, and nothing outside the cache is written.

Usage: pull_refusals_test.py FOLDER_OF_BINARIES; run by ctest as `pull_refusals_test`.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from hub_stub import DEMO, Repo, demo_files
from pulling import DIPTYCH, NAME, WEIGHTS, Cache, refused, with_config


class PullRefusalsTest(unittest.TestCase):
    def test_a_token_of_the_variable_or_the_file(self):
        with Cache() as cache:
            cache.repo.private = True
            self.assertIn("HF_TOKEN", refused(self, cache))
            file = pathlib.Path(cache.folder.name) / "token"
            file.write_text("hf_secret\n")
            self.assertIn("MODEL_UNKNOWN", refused(self, cache, HF_TOKEN_PATH=str(file), HF_HUB_DISABLE_IMPLICIT_TOKEN="1"))
            self.assertEqual(cache.pull(HF_TOKEN_PATH=str(file)).returncode, 0)
        with Cache() as cache:
            cache.repo.private = True
            self.assertEqual(cache.pull(HF_TOKEN="hf_secret").returncode, 0)

    def test_mistakes_are_one_line_with_the_remedy(self):
        pickle = {n: d for n, d in demo_files().items() if n != WEIGHTS} | {"pytorch_model.bin": b"pickle"}
        with Cache() as cache:
            cache.hub.repos.update({
                "org/t5": Repo(with_config(lambda c: c["text_config"].update(model_type="t5"))),
                "org/instruct": Repo(with_config(lambda c: c.update(model_type="instructblip"))),
                "org/pickle": Repo(pickle), "org/gated": Repo(demo_files(), gated=True), "org/asked": Repo(demo_files(), gated="not yet"),
                "org/rounded": Repo(with_config(lambda c: c.update(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}))),
                "org/no-words": Repo({n: d for n, d in demo_files().items() if n not in ("tokenizer.json", "vocab.json")}),
                "org/no-sizes": Repo({n: d for n, d in demo_files().items() if not n.endswith("processor_config.json")}),
                "org/empty": Repo({"README.md": b""}), "org/no-weights": Repo({"config.json": demo_files()["config.json"]})})
            cache.hub.datasets.add("org/pictures")
            for name, parts, variables in (
                    ("org/nmae", ["MODEL_UNKNOWN", "org/nmae", "Check the name"], {}),
                    ("name", ["MODEL_NAME: ", "not the name of a model", "ORG/NAME"], {}),
                    ("../name", ["not the name of a model"], {}),
                    ("https://huggingface.co/org/name", ["did you mean org/name?"], {}),
                    (NAME + "\n", ["not the name of a model"], {}),
                    (NAME + "@v9", ["no revision v9 of org/name", "/org/name/tree/main"], {}),
                    ("org/t5", ["text_config.model_type is \"t5\"", "BLIP-2 with an OPT decoder"], {}),
                    ("org/instruct", ["model_type is \"instructblip\"", "BLIP-2 with an OPT decoder"], {}),
                    ("org/pickle", ["pickle", "runs code", "save_pretrained"], {}),
                    ("org/rounded", ["rounded as bitsandbytes", "made from", "--dtype"], {}),
                    ("org/no-words", ["no tokenizer.json and no vocab.json", "@REVISION"], {}),
                    ("org/no-sizes", ["no preprocessor_config.json", "@REVISION"], {}),
                    ("org/empty", ["no config.json"], {}),
                    ("org/no-weights", ["no model.safetensors"], {}),
                    ("org/pictures", ["is a dataset"], {}),
                    ("org/gated", ["gated", "Accept it at http://127.0.0.1", "/org/gated", "HF_TOKEN"], {}),
                    ("org/asked", ["gated", "/org/asked"], {"HF_TOKEN": "hf_secret"}),
                    (NAME, ["TOKEN_REFUSED", "HF_TOKEN"], {"HF_TOKEN": "hf_wrong"}),
                    (NAME, ["token has characters"], {"HF_TOKEN": "hf\r\nX-Evil: 1"}),
                    (NAME, ["HF_ENDPOINT takes"], {"HF_ENDPOINT": "ftp://hub"}),
                    (NAME, ["cannot be reached", "proxy"], {"HF_ENDPOINT": "http://127.0.0.1:1"}),
                    (NAME, ["cannot be reached", "name is not known"], {"HF_ENDPOINT": "https://hub.invalid"}),
                    (NAME, ["HUB_OFFLINE: HF_HUB_OFFLINE", "Unset"], {"HF_HUB_OFFLINE": "1"})):
                with self.subTest(name, **variables):
                    line = refused(self, cache, name=name, **variables)
                    for part in parts:
                        self.assertIn(part, line)
                    self.assertNotIn("hf_wrong", line)
                    self.assertNotIn("X-Evil", line)

    def test_a_misspelt_name_offers_the_nearest_of_the_cache(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            self.assertIn("did you mean org/name? Check the name", cache.pull(name="org/nmae").stderr)
            serve = subprocess.run([DIPTYCH, "serve", "org/nmae"], capture_output=True, text=True, timeout=60,
                                   env=cache.environment(HF_HUB_OFFLINE="1"))
            self.assertEqual(serve.returncode, 1)
            self.assertIn("did you mean org/name? Unset HF_HUB_OFFLINE", serve.stderr)
            self.assertNotIn("diptych pull", serve.stderr)

    def test_a_misspelt_folder_is_told_as_that_too(self):
        with Cache() as cache:
            for endpoint in (cache.hub.url, "http://127.0.0.1:1"):
                serve = subprocess.run([DIPTYCH, "serve", "models/dem"], capture_output=True, text=True, timeout=60, cwd=DEMO.parents[1],
                                       env=cache.environment(HF_ENDPOINT=endpoint))
                self.assertEqual((serve.returncode, len(serve.stderr.splitlines())), (1, 1), serve.stderr)
                self.assertIn(f"there is no folder {DEMO.parents[1]}/models/dem; did you mean models/demo?", serve.stderr)

    def test_a_cache_that_is_read_only(self):
        with Cache() as cache:
            line = cache.pull(HF_HUB_CACHE="/proc/no/cache")
            self.assertEqual((line.returncode, line.stdout), (1, ""))
            self.assertIn("CACHE_NOT_WRITABLE: cannot write /proc/no/cache", line.stderr)
            self.assertIn("HF_HUB_CACHE", line.stderr)
            if os.getuid() != 0:
                return
            cache.path.mkdir(parents=True)
            os.chmod(cache.folder.name, 0o755)
            os.chmod(cache.path, 0o555)
            readable = os.access(DIPTYCH, os.X_OK) and subprocess.run([DIPTYCH, "--version"], preexec_fn=lambda: os.setuid(65534), check=False,
                                                                      capture_output=True).returncode == 0
            if readable:
                pulled = cache.pull(limits=lambda: os.setuid(65534))
                self.assertEqual(pulled.returncode, 1)
                self.assertIn("Permission denied", pulled.stderr)
                self.assertEqual(list(cache.path.iterdir()), [])

    def test_revisions_that_are_the_beginning_of_others(self):
        for there, wanted in (("v", "v/2"), ("v", "v/2/3"), ("v/2", "v")):
            with self.subTest(there=there, wanted=wanted), Cache() as cache:
                commit = cache.repo.branches[there] = cache.repo.branches[wanted] = cache.repo.branches["main"]
                self.assertEqual(cache.pull(name=f"{NAME}@{there}").returncode, 0)
                pulled = cache.pull(name=f"{NAME}@{wanted}")
                self.assertEqual((pulled.returncode, len(pulled.stderr.splitlines())), (1, 1), pulled.stderr)
                self.assertIn(f"cannot hold the revision {wanted} beside what {cache.stored}/refs/v", pulled.stderr)
                self.assertIn("name the commit", pulled.stderr)
                self.assertEqual(cache.pull(name=f"{NAME}@{commit}").returncode, 0)

    def test_planted_links_are_not_followed(self):
        with Cache() as cache, tempfile.TemporaryDirectory() as other:
            victim = pathlib.Path(other) / "victim"
            victim.write_text("precious")
            (cache.stored / "blobs").mkdir(parents=True)
            (cache.stored / "blobs" / (cache.repo.etag(WEIGHTS) + ".partial")).symlink_to(victim)
            self.assertEqual(cache.pull().returncode, 1)
            self.assertEqual(victim.read_text(), "precious")

    def test_planted_links_to_folders_are_not_followed(self):
        for part in ("blobs", "refs", "snapshots", "snapshots/COMMIT"):
            with self.subTest(part), Cache() as cache, tempfile.TemporaryDirectory() as other:
                victim = pathlib.Path(other)
                (victim / "config.json").write_text("precious")
                link = cache.stored / part.replace("COMMIT", cache.repo.branches["main"])
                link.parent.mkdir(parents=True)
                link.symlink_to(victim)
                pulled = cache.pull()
                self.assertEqual(pulled.returncode, 1)
                self.assertIn(f"cannot write {link}", pulled.stderr)
                self.assertEqual([(path.name, path.read_text()) for path in victim.iterdir()], [("config.json", "precious")])
                link.unlink()
                self.assertEqual(cache.pull().returncode, 0)
                cache.check_whole(self)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
