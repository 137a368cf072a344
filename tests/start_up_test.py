"""Starts the binaries as a user would: good and bad flags, READY, SIGTERM, a tier that is not there.

Usage: start_up_test.py VISION_SERVICE LANGUAGE_SERVICE GATEWAY; run by ctest as `start_up_test`.
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = [pathlib.Path(argument).resolve() for argument in sys.argv[1:3]]
GATEWAY = pathlib.Path(sys.argv[3]).resolve()
DEMO = str(ROOT / "models" / "demo")
NO_TIERS = ["--vision_target=127.0.0.1:1", "--language_target=127.0.0.1:2"]  # whoever runs on this machine


def start(binary, *flags):
    return subprocess.Popen([binary, "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0", "--threads=1", *flags], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def overwrite_with_nan(file, tensor):
    """All bits are one: so is NaN in every type of numbers that a checkpoint holds."""
    stored = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(stored[:8], "little")
    first, last = json.loads(stored[8:begin])[tensor]["data_offsets"]
    stored[begin + first:begin + last] = b"\xff" * (last - first)
    file.write_bytes(stored)


# A thread of gRPC's that has something to log when all else of the process has ended.
LATE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
static void late(int status, void* unused) {
  void (*log)(const char*, int, int, const char*, ...) = dlsym(RTLD_DEFAULT, "gpr_log");
  log("late.cc", 1, 2, "late");
}
__attribute__((constructor)) static void begin(void) { on_exit(late, 0); }
"""


class StartUpTest(unittest.TestCase):
    def refused(self, binary, *flags):
        """The line that names the cause."""
        process = start(binary, "--log_level=error", *flags)
        out, err = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertEqual(out, "")
        lines = err.strip().splitlines()
        self.assertEqual(len(lines), 1, err)
        return lines[0]

    def test_says_ready_and_drains_on_sigterm(self):
        for binary in BINARIES:
            with self.subTest(binary.name):
                process = start(binary, f"--model={DEMO}")
                tier = binary.name.removesuffix("_service")
                ready = process.stdout.readline()
                self.assertRegex(ready, rf"^READY tier={tier} port=[1-9]\d* model=demo device=cpu dtype=float32 metrics_port=[1-9]\d* drain=30s\n$")
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0)
                self.assertIn("serving demo in float32 on cpu", err)
                self.assertNotIn(DEMO, err, "no path in the log")

    @unittest.skipUnless(shutil.which("cc"), "there is no compiler")
    def test_what_threads_do_after_the_end_crashes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            late = pathlib.Path(folder) / "late.so"
            subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", late], input=LATE, text=True, check=True)
            for binary, flags in (*((tier, [f"--model={DEMO}"]) for tier in BINARIES), (GATEWAY, ["--http_listen=127.0.0.1:0", *NO_TIERS])):
                with self.subTest(binary.name):
                    self.assertEqual(self.status_of_end(binary, flags, {"LD_PRELOAD": str(late), "ASAN_OPTIONS": "verify_asan_link_order=0"}), 0)

    @staticmethod
    def status_of_end(binary, flags, environment):
        process = subprocess.Popen([binary, "--listen=127.0.0.1:0", "--metrics_listen=", *flags], text=True, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env={**os.environ, **environment})
        next(line for line in process.stderr if "listening on port" in line or "serving demo" in line)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        return process.returncode

    def test_serves_weights_of_8_and_4_bits(self):
        for binary in BINARIES:
            for dtype in ("int8", "int4"):
                with self.subTest(binary=binary.name, dtype=dtype):
                    process = start(binary, f"--model={DEMO}", f"--dtype={dtype}")
                    self.assertIn(f" device=cpu dtype={dtype} ", process.stdout.readline())
                    process.send_signal(signal.SIGTERM)
                    process.communicate(timeout=60)
                    self.assertEqual(process.returncode, 0)

    def test_a_model_of_the_cache_has_its_name(self):
        commit = "c" * 40
        for binary in BINARIES:
            with self.subTest(binary.name), tempfile.TemporaryDirectory() as cache:
                stored = pathlib.Path(cache) / "models--org--name"
                (stored / "refs").mkdir(parents=True)
                (stored / "refs" / "main").write_text(commit)
                (stored / "snapshots").mkdir()
                os.environ["HF_HUB_CACHE"] = cache
                self.addCleanup(os.environ.pop, "HF_HUB_CACHE", None)
                self.assertIn("diptych pull org/other", self.refused(binary, "--model=org/other"))
                shutil.copytree(DEMO, stored / "snapshots" / commit)
                process = start(binary, "--model=org/name")
                self.assertIn(" model=org/name ", process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)

    def test_chooses_float32_for_a_small_model_and_says_why(self):
        for binary in BINARIES:
            with self.subTest(binary.name):
                process = start(binary, f"--model={DEMO}")
                self.assertIn(" dtype=float32 ", process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=60)
                self.assertRegex(err, r"--dtype=auto is float32: the model takes [0-9]+ MiB")

    def test_refuses_a_model_that_does_not_fit_before_it_is_read(self):
        for binary in BINARIES:
            with self.subTest(binary.name):
                line = self.refused(binary, f"--model={DEMO}", "--memory_limit=16MiB")
                self.assertRegex(line, r"the model does not fit: float32 needs .*, 16 MiB are free; .*--dtype int4")

    def test_a_missing_checkpoint_is_one_line(self):
        for binary in BINARIES:
            with self.subTest(binary.name), tempfile.TemporaryDirectory() as empty:
                self.assertTrue(self.refused(binary, f"--model={empty}").startswith(f"{binary.name}: "))

    def test_a_broken_checkpoint_names_the_file(self):
        for binary in BINARIES:
            with self.subTest(binary.name), tempfile.TemporaryDirectory() as folder:
                for file in pathlib.Path(DEMO).glob("*.json"):
                    (pathlib.Path(folder) / file.name).write_bytes(file.read_bytes())
                (pathlib.Path(folder) / "model.safetensors").write_bytes(b"\xff" * 16)
                self.assertIn("model.safetensors", self.refused(binary, f"--model={folder}"))

    def test_a_checkpoint_whose_numbers_are_not_finite_is_refused(self):
        for binary, tensor in zip(BINARIES, ("vision_model.post_layernorm.weight", "language_projection.weight")):
            with self.subTest(binary.name), tempfile.TemporaryDirectory() as folder:
                shutil.copytree(DEMO, folder, dirs_exist_ok=True)
                overwrite_with_nan(pathlib.Path(folder) / "model.safetensors", tensor)
                self.assertIn("its weights are damaged", self.refused(binary, f"--model={folder}"))

    def test_sigterm_while_the_model_is_loaded_ends_at_once(self):
        def send_before_the_first_line_runs():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            os.kill(os.getpid(), signal.SIGTERM)
        for binary in BINARIES:
            with self.subTest(binary.name):
                ended = subprocess.run([binary, f"--model={DEMO}", "--listen=127.0.0.1:0", "--metrics_listen="], text=True, capture_output=True,
                                       preexec_fn=send_before_the_first_line_runs, timeout=60)
                self.assertEqual((ended.returncode, ended.stdout), (0, ""), ended.stderr)
                self.assertIn("ending before the model is loaded", ended.stderr)

    def test_a_tokenizer_with_more_ids_than_the_model_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(DEMO, folder, dirs_exist_ok=True)
            file = pathlib.Path(folder) / "tokenizer.json"
            tokenizer = json.loads(file.read_text())
            last = tokenizer["added_tokens"][-1]
            words = json.loads((pathlib.Path(folder) / "config.json").read_text())["text_config"]["vocab_size"]
            tokenizer["added_tokens"] += [{**last, "id": id, "content": f"<{id}>"} for id in range(last["id"] + 1, words + 1)]
            file.write_text(json.dumps(tokenizer))
            self.assertIn(f"the tokenizer has ids up to {words}", self.refused(BINARIES[1], f"--model={folder}"))

    def test_a_bad_flag_is_named(self):
        for binary in BINARIES:
            with self.subTest(binary.name):
                self.assertIn("int3", self.refused(binary, f"--model={DEMO}", "--dtype=int3"))
                self.assertIn("--metrics_listen", self.refused(binary, f"--model={DEMO}", "--metrics_listen=nowhere"))
                self.assertIn("--queue_limit", self.refused(binary, f"--model={DEMO}", "--queue_limit=0"))
                self.assertIn("abacus", self.refused(binary, f"--model={DEMO}", "--device=abacus"))

    def test_bytes_have_units_and_dtypes_their_usual_names(self):
        for binary in BINARIES:
            with self.subTest(binary.name):
                process = start(binary, f"--model={DEMO}", "--cache_bytes=64MiB", "--max_inflight_bytes=2GiB", "--dtype=bf16")
                self.assertIn("dtype=bfloat16", process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
                _, err = start(binary, "--cache_bytes=64XB").communicate(timeout=60)
                self.assertRegex(err, "cache_bytes.*64MiB|cache_bytes.*256MiB")

    def test_a_port_that_is_none_is_refused(self):
        for binary in (*BINARIES, GATEWAY):
            for flag in ("--listen", "--metrics_listen", *(["--http_listen"] if binary == GATEWAY else [])):
                with self.subTest(binary.name, flag=flag):
                    model = [] if binary == GATEWAY else [f"--model={DEMO}"]
                    process = subprocess.run([binary, *model, "--log_level=error", "--listen=127.0.0.1:0", "--metrics_listen=", f"{flag}=0.0.0.0:80000"],
                                             text=True, capture_output=True, timeout=60)
                    self.assertEqual(process.returncode, 1)
                    self.assertIn(flag, process.stderr)
                    self.assertIn("80000", process.stderr)

    def test_a_port_that_is_taken_is_named_with_its_flag(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            for flag in ("--listen", "--metrics_listen", "--http_listen"):
                process = subprocess.run([GATEWAY, "--log_level=error", "--listen=127.0.0.1:0", "--metrics_listen=", "--http_listen=", f"{flag}={address}"],
                                         text=True, capture_output=True, timeout=60)
                self.assertEqual((process.returncode, address in process.stderr, f"choose another with {flag}" in process.stderr), (1, True, True), process.stderr)

    def test_a_target_that_cannot_be_is_refused(self):
        for target in ("vision:70001", "127.0.0.1", "http://vision:7001", "ipv4:127.0.0.1", "ipv4:999.1.1.1:7", "dns:///"):
            self._is_refused_as_target(target)

    def _is_refused_as_target(self, target):
        for binary, flags in ((BINARIES[1], ["--vision_target"]), (GATEWAY, ["--vision_target", "--language_target"])):
            for flag in flags:
                with self.subTest(binary.name, flag=flag, target=target):
                    model = [] if binary == GATEWAY else [f"--model={DEMO}"]
                    process = subprocess.run([binary, *model, "--log_level=error", "--listen=127.0.0.1:0", f"{flag}={target}"],
                                             text=True, capture_output=True, timeout=60)
                    self.assertEqual(process.returncode, 1)
                    self.assertIn(flag, process.stderr)
                    self.assertIn(f'"{target}"', process.stderr)
                    self.assertIn("for example 127.0.0.1:7000", process.stderr)

    def test_a_gateway_that_others_reach_says_what_it_lacks(self):
        for address, warned in (("127.0.0.1:0", False), ("0.0.0.0:0", True)):
            with self.subTest(address):
                process = subprocess.Popen([GATEWAY, f"--listen={address}", "--metrics_listen=", "--http_listen=", *NO_TIERS], text=True,
                                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
                lines = []
                while not lines or "cannot reach" not in lines[-1]:  # which it says after all else
                    lines.append(process.stderr.readline())
                process.terminate()
                lines += process.communicate(timeout=60)[1].splitlines()
                self.assertEqual(any("deploy/edge" in line and "--tls_cert" in line for line in lines), warned, lines)

    def test_version_is_name_version_and_commit(self):
        for binary in (*BINARIES, GATEWAY):
            with self.subTest(binary.name):
                out = subprocess.run([binary, "--version"], text=True, capture_output=True, timeout=60).stdout
                self.assertRegex(out, rf"^{binary.name} \d+\.\d+\.\d+ \(commit \w+\)\n$")

    def test_a_tier_that_is_not_there_is_named_at_once(self):
        flags = ["--listen=127.0.0.1:0", "--metrics_listen="]
        for binary, model, tiers in ((BINARIES[1], [f"--model={DEMO}"], ["vision"]), (GATEWAY, ["--http_listen="], ["vision", "language"])):
            with self.subTest(binary.name):
                targets = [f"--{tier}_target=127.0.0.1:{port}" for tier, port in zip(tiers, (1, 2))]
                process = subprocess.Popen([binary, *flags, *model, *targets], text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
                missing = {f"cannot reach the {tier} tier at 127.0.0.1:{port} (--{tier}_target)" for tier, port in zip(tiers, (1, 2))}
                for line in process.stderr:
                    missing = {text for text in missing if text not in line}
                    if not missing:
                        break
                process.terminate()
                process.communicate(timeout=60)
                self.assertFalse(missing)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
