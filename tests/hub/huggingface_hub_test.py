"""Hugging Face's own Python client and ours share one cache: what it downloads is served, what is pulled it finds.

Usage: huggingface_hub_test.py FOLDER_OF_BINARIES; run by ctest as `huggingface_hub_test`. Skipped where .deps/huggingface_hub is absent.
"""
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENT = ROOT / ".deps" / "huggingface_hub"
if not (CLIENT / "huggingface_hub").is_dir():
    print("skipped: huggingface_hub is not installed; scripts/setup.sh --tests installs it")
    sys.exit(77)

from pulling import DIPTYCH, NAME, Cache, serving_files  # noqa: E402
from hub_stub import demo_files  # noqa: E402

PATTERNS = ["*.json", "*.safetensors", "merges.txt"]


def tree(folder):
    """Every path below it, and what it is: a link's target or a file's bytes. Locks, listings and tags are each client's own."""
    kept = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith(".locks") or "/trees" in name or path.name in ("CACHEDIR.TAG", ".no_exist"):
            continue
        kept[name] = f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return kept


class HuggingFaceHubTest(unittest.TestCase):
    def client(self, cache, code, **variables):
        """Runs Python code in which snapshot_download is there; what it prints."""
        program = f"import sys; sys.path.insert(0, {str(CLIENT)!r}); from huggingface_hub import snapshot_download\n{code}"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
                             env=cache.environment(HF_HUB_DISABLE_TELEMETRY="1", **variables))
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.strip()

    def test_the_stub_speaks_as_the_hub_does(self):
        with Cache() as cache:
            folder = self.client(cache, f"print(snapshot_download({NAME!r}))")
            self.assertEqual(folder, str(cache.snapshot()))
            for name, data in cache.repo.files.items():
                self.assertEqual((cache.snapshot() / name).read_bytes(), data)

    def test_both_leave_the_same_tree(self):
        with Cache() as theirs, Cache() as ours:
            self.client(theirs, f"snapshot_download({NAME!r}, allow_patterns={PATTERNS})")
            self.assertEqual(ours.pull().returncode, 0)
            self.assertEqual(tree(theirs.path), tree(ours.path))

    def test_it_finds_what_is_pulled(self):
        with Cache() as cache:
            commit = cache.repo.branches["v1"] = cache.repo.branches["main"]
            self.assertEqual(cache.pull().returncode, 0)
            self.assertEqual(cache.pull(name=NAME + "@v1").returncode, 0)
            cache.hub.requests.clear()
            for revision in ("main", "v1", commit):
                found = self.client(cache, f"print(snapshot_download({NAME!r}, revision={revision!r}, local_files_only=True))")
                self.assertEqual(found, str(cache.snapshot()))
            self.client(cache, f"snapshot_download({NAME!r})", HF_HUB_OFFLINE="1")
            self.assertEqual(cache.hub.requests, [])
            self.client(cache, f"snapshot_download({NAME!r}, allow_patterns={PATTERNS})")
            self.assertEqual(cache.hub.count("storage", "GET"), 0, "it downloads nothing again")

    def test_its_inventory_of_the_cache_is_in_order(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            printed = self.client(cache, """
from huggingface_hub import scan_cache_dir
found = scan_cache_dir()
repo, = found.repos
revision, = repo.revisions
print(found.warnings, repo.repo_id, repo.repo_type, repo.size_on_disk, sorted(revision.refs), len(revision.files))
found.delete_revisions(revision.commit_hash).execute()""")
            files = serving_files(cache.repo)
            self.assertEqual(printed, f"[] {NAME} model {sum(map(len, files.values()))} ['main'] {len(files)}")
            self.assertFalse(cache.snapshot().exists(), "it can also be removed there")
            self.assertEqual(cache.pull().returncode, 0)
            cache.check_whole(self)

    def test_what_it_downloads_is_not_pulled_again(self):
        with Cache() as cache:
            self.client(cache, f"snapshot_download({NAME!r})")
            cache.hub.requests.clear()
            pulled = cache.pull()
            self.assertEqual((pulled.returncode, pulled.stderr), (0, "[pull] all of it was here already\n"))
            self.assertEqual(len(cache.hub.requests), 1)
            tier = subprocess.Popen([DIPTYCH.parent / "vision_service", f"--model={NAME}", "--listen=127.0.0.1:0", "--metrics_listen="],
                                    text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=cache.environment())
            self.assertIn(f" model={NAME} ", tier.stdout.readline())
            tier.terminate()
            tier.communicate(timeout=60)

    def test_what_it_left_half_done_is_completed(self):
        with Cache() as cache:
            self.client(cache, f"snapshot_download({NAME!r}, allow_patterns=['*.json', 'README.md'])")
            pulled = cache.pull()
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            for name, data in serving_files(cache.repo).items():
                self.assertEqual((cache.snapshot() / name).read_bytes(), data)
            self.assertTrue((cache.snapshot() / "README.md").is_file(), "what it has beside that stays")
            self.client(cache, f"print(snapshot_download({NAME!r}, local_files_only=True, allow_patterns={PATTERNS}))")

    def test_gated_and_missing_models_are_told_alike(self):
        with Cache(demo_files()) as cache:
            cache.repo.gated = True
            self.assertIn("gated", cache.pull().stderr)
            code = f"""
from huggingface_hub.errors import GatedRepoError
try:
    snapshot_download({NAME!r})
except GatedRepoError:
    print("gated")"""
            self.assertEqual(self.client(cache, code), "gated")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
