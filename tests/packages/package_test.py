"""Installs each package into a bare Debian and a bare Ubuntu, without a compiler, and asks the demo model a question there.

Usage, as root: package_test.py DIST TORCH_FOLDER [TEST…]; `make package-test` runs it. The bare roots are looked for in
.deps/roots/SUITE, where scripts/setup.sh --packages makes them; those that are missing are named and left out.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import installed

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOTS = ROOT / ".deps" / "roots"
SAMPLE = ROOT / "models" / "demo" / "samples" / "red_circle_blue_star.png"
QUESTION = "What color is the circle?"
CLIENT = f"""
import sys, diptych
client = diptych.Client(sys.argv[1])
answer = client.ask("/tmp/sample.png", "{QUESTION}")
streamed = "".join(piece.text for piece in client.stream("/tmp/sample.png", "{QUESTION}"))
print(answer.text, streamed, client.analyze("/tmp/sample.png").cls_attention.patches.shape)
"""


def package(pattern):
    found = sorted(DIST.glob(pattern))
    if len(found) != 1:
        raise AssertionError(f"{DIST} holds {len(found)} files {pattern}; make package makes one")
    return found[0]


class BareRoot:
    """A system that holds nothing but its base and Python; what is written to it is gone at the end."""

    def __init__(self, suite):
        self._folder = pathlib.Path(tempfile.mkdtemp(dir=ROOT / "build"))
        self.path = self._folder / "root"
        for name in ("changes", "work", "root"):
            (self._folder / name).mkdir()
        options = f"lowerdir={ROOTS / suite},upperdir={self._folder / 'changes'},workdir={self._folder / 'work'}"
        self.mount("-t", "overlay", "-o", options, "overlay", self.path)
        self.mount("-t", "proc", "proc", self.path / "proc")
        self.mount("--rbind", "/dev", self.path / "dev")
        shutil.copy(SAMPLE, self.path / "tmp" / "sample.png")
        (self.path / "tmp").chmod(0o1777)

    def mount(self, *words):
        installed.run(["mount", *map(str, words)])

    def command(self, *words, user="nobody:nogroup"):
        """Runs in the root as a user who owns nothing there, with an empty environment."""
        return ["chroot", f"--userspec={user}", str(self.path), "/usr/bin/env", "-i", "HOME=/tmp", "LANG=C.UTF-8",
                "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "TMPDIR=/tmp", *map(str, words)]

    def run(self, *words, **options):
        return installed.run(self.command(*words, **options), cwd="/")

    def remove(self):
        installed.run(["umount", "--recursive", "--lazy", str(self.path)])
        shutil.rmtree(self._folder)


class Packages:
    """The tests of one suite."""

    suite = ""

    def setUp(self):
        self.root = BareRoot(self.suite)
        self.addCleanup(self.root.remove)
        for compiler in ("cc", "gcc", "g++", "cmake"):
            self.assertNotEqual(subprocess.run(self.root.command("which", compiler), capture_output=True).returncode, 0)
        self.assertFalse(list(self.root.path.glob("usr/lib/*/libgrpc*")), "the root is not bare")

    def assert_serves(self, *command):
        began = time.monotonic()
        server = installed.Server(self.root.command(*command), cwd="/")
        try:
            self.assertEqual(json.loads(server.ask("/tmp/sample.png", QUESTION))["answer"], "red")
            print(f"{self.id().partition('.')[2]}: {time.monotonic() - began:.1f} s from serve to the right answer", flush=True)
            yield server
        finally:
            self.assertEqual(server.stop(), 0, server.said)

    def test_the_wheel(self):
        wheel = package("diptych-*.whl")
        shutil.copy(wheel, self.root.path / "tmp")
        python = self.root.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        shutil.copytree(ROOTS / f"wheels-{python}", self.root.path / "tmp" / "wheels")
        self.root.run("python3", "-m", "venv", "/tmp/venv")
        pip = ("/tmp/venv/bin/pip", "install", "--quiet", "--no-index", "--no-cache-dir")
        self.root.run(*pip, "--find-links=/tmp/wheels", "grpcio", "protobuf", "googleapis-common-protos", "numpy")
        self.root.run(*pip, "--no-deps", f"/tmp/{wheel.name}")

        alone = subprocess.run(self.root.command("/tmp/venv/bin/diptych", "serve"), capture_output=True, text=True)
        self.assertEqual(alone.returncode, 1)
        self.assertIn("pip install 'torch==", alone.stderr)
        # Half a gigabyte that pip would fetch: the libtorch that the build uses, as if it were installed.
        site = self.root.path / "tmp" / "venv" / "lib" / f"python{python}" / "site-packages"
        for part in sorted(TORCH.parent.iterdir()):
            if part.name.startswith(("torch", "nvidia")) and part.is_dir():
                (site / part.name).mkdir()
                self.root.mount("--bind", part, site / part.name)

        for server in self.assert_serves("/tmp/venv/bin/diptych"):
            self.assertIn("Ask:   tmp/venv/bin/diptych ask", server.said)  # the command, not the file behind it
            said = self.root.run("/tmp/venv/bin/python", "-c", CLIENT, server.address)
            self.assertEqual(said.strip(), "red red (8, 8)")
        for program in ("gateway", "vision_service", "language_service"):
            command = f"/tmp/venv/bin/diptych-{program.replace('_', '-')}"
            self.assertIn(program, self.root.run(command, "--version"))
        self.root.run("/tmp/venv/bin/pip", "uninstall", "--yes", "--quiet", "diptych")
        self.assertFalse(list(site.glob("*diptych*")), "uninstalling leaves something behind")

    def test_the_tarball(self):
        installed.run(["tar", "--extract", "--file", str(package("diptych-*.tar.gz")), "--directory", str(self.root.path / "tmp")])
        (folder,) = self.root.path.glob("tmp/diptych-*")
        folder.rename(folder.with_name("any where"))
        for _ in self.assert_serves("/tmp/any where/bin/diptych"):
            pass
        listed = self.root.run("/lib64/ld-linux-x86-64.so.2", "--list", "/tmp/any where/bin/language_service")
        self.assertNotIn("not found", listed)

    def test_the_debian_package(self):
        shutil.copy(package("diptych_*.deb"), self.root.path / "tmp" / "diptych.deb")
        self.root.run("dpkg", "--install", "/tmp/diptych.deb", user="root:root")
        for _ in self.assert_serves("diptych"):
            pass
        self.assertRegex(self.root.run("diptych", "--version"), r"\d+\.\d+")
        self.root.run("bash", "-n", "/usr/share/bash-completion/completions/diptych")
        self.assert_units_serve()
        (self.root.path / "etc/diptych/vision-2.env").write_text("DIPTYCH_LISTEN=127.0.0.1:7011\n")
        self.root.run("dpkg", "--purge", "diptych", user="root:root")
        for place in ("usr/lib/diptych", "usr/bin/diptych", "etc/diptych", "usr/share/doc/diptych"):
            self.assertFalse((self.root.path / place).exists(), place)

    def assert_units_serve(self):
        """What systemd would start answers; the files of flags are those of the package."""
        processes = []
        try:
            for unit in ("diptych-vision@", "diptych-language@", "diptych-gateway"):
                text = (self.root.path / f"usr/lib/systemd/system/{unit}.service").read_text()
                flags = []
                for file in re.findall(r"^EnvironmentFile=(/\S+)", text, re.M):
                    lines = (self.root.path / file.lstrip("/")).read_text().splitlines()
                    flags += [line for line in lines if re.match(r"DIPTYCH_\w+=", line)]
                command = re.search(r"^ExecStart=(.+)$", text, re.M)[1].split()
                processes.append(subprocess.Popen(self.root.command(*flags, *command), stdout=subprocess.PIPE, text=True, cwd="/"))
                self.assertIn("READY", processes[-1].stdout.readline(), unit)
            answer = self.root.run("diptych", "ask", "--image", "/tmp/sample.png", "--question", QUESTION, "--json")
            self.assertEqual(json.loads(answer)["answer"], "red")
        finally:
            for process in reversed(processes):
                process.terminate()
                process.communicate(timeout=60)


class BookwormTest(Packages, unittest.TestCase):
    suite = "bookworm"


class NobleTest(Packages, unittest.TestCase):
    suite = "noble"


class WhatIsBundledTest(unittest.TestCase):
    def unpack(self, archive, kind):
        folder = pathlib.Path(tempfile.mkdtemp(dir=ROOT / "build"))
        self.addCleanup(shutil.rmtree, folder)
        shutil.unpack_archive(archive, folder, kind)
        return folder

    def assert_bill_is_complete(self, bill, libraries, licenses):
        """Every library that is bundled is in the bill with its hash, and the licence of its package is there."""
        files = {file["name"]: file for part in bill["components"] for file in part.get("components", ()) if file["type"] == "file"}
        self.assertEqual(set(files), {f"lib/diptych/{path.name}" for path in libraries.iterdir()})
        for path in libraries.iterdir():
            found = files[f"lib/diptych/{path.name}"]["hashes"][0]["content"]
            self.assertEqual(found, hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
        for part in bill["components"]:
            self.assertTrue(any((licenses / part["name"]).iterdir()), part["name"])
            self.assertTrue(part["version"] and part["licenses"], part["name"])
        names = {part["bom-ref"]: part["name"] for part in bill["components"]}
        affected = {names[one["ref"]] for known in bill["vulnerabilities"] for one in known["affects"]}
        self.assertEqual(affected, {name for name in names.values() if name.startswith("libgrpc") or name == "torch"},
                         "of another version it is not known yet: tools/package/known_vulnerabilities.json")

    def test_the_wheel(self):
        wheel = package("diptych-*.whl")
        self.assertLess(wheel.stat().st_size, 60e6)
        folder = self.unpack(wheel, "zip")
        package_folder = folder / "diptych"
        bill = json.loads(package("diptych-*.whl.cdx.json").read_text())
        self.assert_bill_is_complete(bill, package_folder / "lib" / "diptych", package_folder / "share/doc/diptych/licenses")
        self.assertFalse(list(package_folder.rglob("libtorch*")), "torch is a package of its own")
        self.assert_needs_no_newer_glibc(folder, re.search(r"manylinux_2_(\d+)_x86_64", wheel.name)[1])

    def assert_needs_no_newer_glibc(self, folder, newest):
        for path in installed.elf_files(folder):
            for minor in re.findall(r"GLIBC_2\.(\d+)", installed.run(["readelf", "--version-info", str(path)])):
                self.assertLessEqual(int(minor), int(newest), path)

    def test_the_tarball(self):
        folder = self.unpack(package("diptych-*.tar.gz"), "gztar")
        (tree,) = folder.iterdir()
        bill = json.loads(package("diptych-*.tar.gz.cdx.json").read_text())
        self.assertEqual(bill, json.loads((tree / "share/doc/diptych/sbom.cdx.json").read_text()))
        self.assert_bill_is_complete(bill, tree / "lib/diptych", tree / "share/doc/diptych/licenses")
        self.assertIn("torch", [part["name"] for part in bill["components"]])
        self.assertFalse(list(folder.rglob("*.py")), "the tarball holds programs alone")

    def test_bills_are_cyclonedx(self):
        sys.path.insert(0, str(ROOT / ".deps" / "packaging"))
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
        for path in sorted(DIST.glob("*.cdx.json")):
            self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(path.read_text()), path.name)


def leave_out_missing(*tests):
    for test in tests:
        if not (ROOTS / test.suite / "usr").is_dir():
            print(f"skipped: .deps/roots/{test.suite} is missing; scripts/setup.sh --packages makes it where it can", flush=True)
            test.__unittest_skip__ = True
            test.__unittest_skip_why__ = "no bare root"


def in_a_namespace():
    """Starts this again with mounts, processes and a network of its own."""
    if os.environ.get("DIPTYCH_PACKAGE_TEST") == "inside":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        sys.exit("package_test: bare roots want root: sudo make package-test")
    os.environ["DIPTYCH_PACKAGE_TEST"] = "inside"
    os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv])


if __name__ == "__main__":
    in_a_namespace()
    DIST, TORCH = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    del sys.argv[1:3]
    leave_out_missing(BookwormTest, NobleTest)
    unittest.main(verbosity=2)
