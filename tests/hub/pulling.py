"""What the tests of `diptych pull` share: a cache of their own, and looking into it."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from hub_stub import DEMO, Hub, Repo, demo_files

DIPTYCH = pathlib.Path(sys.argv[1]).resolve() / "diptych"
NAME = "org/name"
WEIGHTS = "model.safetensors"


def with_config(change):
    """The demo model's files, but another config."""
    config = json.loads((DEMO / "config.json").read_text())
    change(config)
    return {**demo_files(), "config.json": json.dumps(config).encode()}


def serving_files(repo):
    """What a pull brings of it."""
    return {name: data for name, data in repo.files.items()
            if "/" not in name and (name.endswith((".json", ".safetensors")) or name == "merges.txt")}


def refused(test, cache, *arguments, name=NAME, **variables):
    """The line that names cause and remedy; nothing was written."""
    pulled = cache.pull(*arguments, name=name, **variables)
    test.assertEqual(pulled.returncode, 1, pulled.stderr)
    test.assertEqual(pulled.stdout, "")
    lines = pulled.stderr.strip().splitlines()
    test.assertEqual(len(lines), 1, pulled.stderr)
    test.assertFalse(cache.path.exists(), "something was written")
    return lines[0]


class Cache:
    """A hub with a model, and an empty cache."""

    def __init__(self, files=None, certificate=None):
        self.hub = Hub(certificate)
        self.repo = self.hub.repos[NAME] = Repo(files or demo_files())
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name) / "hub"
        self.stored = self.path / ("models--" + NAME.replace("/", "--"))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.hub.close()
        self.folder.cleanup()

    def environment(self, **more):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS")) and "proxy" not in k.lower()}
        return {**clean, "HF_ENDPOINT": self.hub.url, "HF_HUB_CACHE": str(self.path), "HF_HOME": self.folder.name + "/home", **more}

    def start(self, *arguments, **variables):
        return subprocess.Popen([DIPTYCH, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment(**variables))

    def pull(self, *arguments, name=NAME, limits=None, **variables):
        return subprocess.run([DIPTYCH, "pull", name, *arguments], text=True, capture_output=True, timeout=120, preexec_fn=limits,
                              env=self.environment(**variables))

    def snapshot(self):
        return self.stored / "snapshots" / self.repo.branches["main"]

    def visible(self):
        """Whether anybody can see a snapshot, whole or not."""
        return any((self.stored / part).is_dir() and any((self.stored / part).iterdir()) for part in ("snapshots", "refs"))

    def partial(self):
        return list((self.stored / "blobs").glob("*.partial"))

    def check_whole(self, test):
        """Every byte is the hub's, in the layout of the cache."""
        commit = self.repo.branches["main"]
        wanted = serving_files(self.repo)
        test.assertEqual((self.stored / "refs" / "main").read_text(), commit)
        test.assertEqual(sorted(p.name for p in self.snapshot().iterdir()), sorted(wanted))
        for name, data in wanted.items():
            link = self.snapshot() / name
            test.assertEqual(os.readlink(link), f"../../blobs/{self.repo.etag(name)}")
            test.assertTrue(link.read_bytes() == data, f"{name} differs")
        test.assertEqual(sorted(p.name for p in (self.stored / "blobs").iterdir()), sorted({self.repo.etag(n) for n in wanted}))
        test.assertEqual([p.name for p in self.stored.iterdir() if p.name.startswith(".")], [])
