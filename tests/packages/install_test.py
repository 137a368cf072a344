"""cmake --install makes a tree that works wherever it is moved.

Usage: install_test.py CMAKE BUILD_FOLDER TORCH_FOLDER; run by ctest as `install_test`.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import installed

CMAKE, BUILD, TORCH = sys.argv[1:4]
del sys.argv[1:4]
PROGRAMS = ("gateway", "vision_service", "language_service", "diptych")


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        made = cls.folder / "made here"
        for component in ("programs", "shell", "libraries"):
            installed.run([CMAKE, "--install", BUILD, "--prefix", str(made), "--component", component])
        cls.tree = made.rename(cls.folder / "moved")
        # What the component `torch` copies, half a gigabyte, is linked here.
        for library in sorted(pathlib.Path(TORCH).resolve().glob("lib/*.so*")) + sorted(
                pathlib.Path(TORCH).resolve().parent.glob("nvidia/*/lib/lib*.so*")):
            (cls.tree / "lib" / "diptych" / library.name).symlink_to(library)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_the_layout_is_the_usual_one(self):
        for name in (*(f"bin/{program}" for program in PROGRAMS), "share/doc/diptych/LICENSE",
                     "share/diptych/models/demo/model.safetensors", "share/man/man1/diptych.1",
                     "share/bash-completion/completions/diptych", "share/zsh/site-functions/_diptych",
                     "share/fish/vendor_completions.d/diptych.fish"):
            self.assertTrue((self.tree / name).is_file(), name)
        self.assertTrue(list(self.tree.glob("lib/diptych/libprotobuf.so.*")))
        self.assertEqual([path for path in self.tree.rglob("*") if not path.exists()], [], "links that lead nowhere")

    def test_programs_find_their_libraries_in_the_tree(self):
        for program in PROGRAMS:
            dynamic = installed.run(["readelf", "-d", str(self.tree / "bin" / program)])
            self.assertIn("(RPATH)              Library rpath: [$ORIGIN/../lib/diptych]", dynamic)
            torch = pathlib.Path(TORCH).resolve().parent
            self.assertEqual(list(installed.foreign_libraries(self.tree / "bin" / program, self.tree, torch)), [])

    def test_it_serves_the_bundled_model(self):
        server = installed.Server([self.tree / "bin" / "diptych"], cwd="/")
        try:
            sample = self.tree / "share/diptych/models/demo/samples/red_circle_blue_star.png"
            answer = json.loads(server.ask(sample, "What color is the circle?"))
            self.assertEqual(answer["answer"], "red")
        finally:
            self.assertEqual(server.stop(), 0, server.said)

    def test_shells_and_man_read_what_was_made_for_them(self):
        bash = self.tree / "share/bash-completion/completions/diptych"
        installed.run(["bash", "-n", str(bash)])
        self.assertIn("analyze", bash.read_text())
        self.assertIn(".TH DIPTYCH 1", (self.tree / "share/man/man1/diptych.1").read_text().upper())
        for shell, file in (("zsh", "share/zsh/site-functions/_diptych"), ("fish", "share/fish/vendor_completions.d/diptych.fish")):
            if shutil.which(shell):
                subprocess.run([shell, "-n", str(self.tree / file)], check=True)
            self.assertIn("analyze", (self.tree / file).read_text())


if __name__ == "__main__":
    unittest.main()
