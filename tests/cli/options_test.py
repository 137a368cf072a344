"""Gives the options of the command line values that they must refuse: one line that names option and value, and the exit code.

Usage: options_test.py BIN_FOLDER; run by ctest as `options_test`. No gateway runs: what is refused is refused before one is asked.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

DIPTYCH = pathlib.Path(sys.argv[1]).resolve() / "diptych"
DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
COMMANDS = ("ask", "chat", "analyze", "attention", "budget", "sweep", "bench load", "bench cost", "bench optimizations", "serve", "pull",
            "plan-capacity", "quantize", "completion")
# Required next to the option that is tried.
OTHERS = {"analyze": ["x"], "attention": ["x"], "sweep": ["x"], "bench optimizations": ["--model=x"], "pull": ["a/b"], "quantize": ["x", "y"],
          "completion": ["bash"]}
WHOLE = ("", "1.5", "1e3", "0x10", "many", "nan", "9999999999999999999999", "5 apples")
NUMBERS = ("", "nan", "inf", "-inf", "1e400", "0x1p1", "1,5", "5%")
TIMES = ("", "-1s", "0", "nan", "inf", "99999999h", "soon", "5sec")
MISFITS = {"INT": WHOLE, "UINT": ("-1", *WHOLE), "FLOAT": NUMBERS, "TIME": TIMES, "WHEN": ("maybe", "ALWAYS", ""), "": ("2", "maybe", "")}
MAY_BE_EMPTY = {"--question", "--prompt", "--description", "--api_key", "--server"}
KINDS = {  # all misfits of a kind, at one option of it
    ("ask", "--max_new_tokens"): WHOLE, ("ask", "--seed"): MISFITS["UINT"], ("ask", "--temperature"): NUMBERS, ("ask", "--deadline"): TIMES,
    ("ask", "--together"): MISFITS[""], ("ask", "--json"): ("2",), ("status", "--color"): MISFITS["WHEN"],
    ("ask", "--logit_bias"): ("", "1", "1:", ":1", "x:1", "1:x", "1:nan", "1:inf", "-1:1", "99999999999:1"),
    ("ask", "--stop_token_ids"): ("", "x", "1,2", "99999999999"), ("bench load", "--rate"): (*NUMBERS, "0", "-1", "10001"),
    ("bench load", "--requests"): (*WHOLE, "0", "-1", "100001"), ("serve", "--port"): ("0", "65536", "-1", "http"),
    ("serve", "--host"): ("", "::1", "localhost", "300.1.1.1", "1.2.3", "http://a"),
    ("attention x", "--map"): ("", "x", "query:", "query:-1", "query:1x"), ("attention x", "--out"): ("", "a", "a.jpg"),
    ("budget", "--plot"): ("", "a", "a.pdf"), ("budget", "--image_size"): ("", "0", "8193", "-1", "2x"),
    ("budget", "--patch_size"): ("", "0", "1025", "-1", "2x"),
    ("budget", "--window"): ("", "0", "16777217", "-1", "2x"), ("budget", "--max_new_tokens"): ("-1", "16777217"),
    ("bench optimizations --model=x", "--techniques"): ("", "x", "int8"),
}
PORTS = {"127.0.0.1:0": '"0" is not a port', "127.0.0.1:65536": '"65536" is not a port', "127.0.0.1:-1": '"-1" is not a port',
         "127.0.0.1:": '"" is not a port', "127.0.0.1:70 00": '"70 00" is not a port', "[::1]:99999": '"99999" is not a port',
         "ipv6:[::1]:0": '"0" is not a port', "localhost": "Give --server localhost:7000", "7001": "Give --server 127.0.0.1:7001", "10.0.0.1": "Give --server 10.0.0.1:7000",
         "dns:///gateway": "no port", "[::1]": "Give --server [::1]:7000", "::1": "Give --server [::1]:7000", "": "names no gateway",
         ":7000": "names no gateway", "[::1": "names no gateway", "a b:7000": "names no gateway", "unix:": "names no gateway",
         "tcp:127.0.0.1:7000": "names no gateway", "ipv4:localhost:7000": "names no gateway",
         "127.0.0.1:7000,127.0.0.1:7001": "names no gateway", "http://127.0.0.1:7000": 'without "http://"', "tcp://a:7": 'without "tcp://"',
         "vsock://a:7": 'without "vsock://"'}


def run(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_")}
    return subprocess.run([DIPTYCH, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environment)


def in_parallel(function, cases):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [fault for fault in pool.map(lambda case: function(*case), cases) if fault]


def fault_of(command, option, value, wanted=()):
    """What is wrong with how the misfit is refused."""
    done = run(*command.split(), f"{option}={value}")
    line = done.stderr.split("\n")[0]
    if done.returncode != 2 or done.stdout or len(done.stderr.splitlines()) != 1:
        return f"{command} {option}={value!r}: exit code {done.returncode}: {done.stdout}{done.stderr}"
    named = option in line and value in line
    return None if named and all(word in line for word in wanted) else f"{command} {option}={value!r}: not named: {line}"


def options_of(command):
    """(name, type) of each; the type of a switch is empty."""
    return re.findall(r"^  (?:-\w, |    )(--\w+)(?: ([A-Z]+))?", run(*command.split(), "--help").stdout, re.M)


class OptionsTest(unittest.TestCase):
    def test_every_option_refuses_a_value_of_another_kind(self):
        cases, tried = [], set()
        for command in COMMANDS:
            for option, kind in options_of(command):
                if option in tried or option == "--help":
                    continue
                tried.add(option)
                call = " ".join([command, *OTHERS.get(command, [])])
                if kind in MISFITS:
                    cases.append((call, option, MISFITS[kind][len(tried) % len(MISFITS[kind])]))
                elif kind == "TEXT" and option not in MAY_BE_EMPTY | {"--stop"}:
                    cases.append((call, option, ""))
        self.assertGreater(len(cases), 80)
        self.assertEqual(in_parallel(fault_of, cases), [])

    def test_every_kind_refuses_all_that_it_is_not(self):
        cases = [(command, option, value) for (command, option), values in KINDS.items() for value in values]
        self.assertEqual(in_parallel(fault_of, cases), [])

    def test_says_what_is_wanted(self):
        for command, option, value, wanted in (
                ("ask", "--max_new_tokens", "0x10", "takes a whole number"), ("ask", "--seed", "-1", "takes a whole number from 0"),
                ("ask", "--top_p", "nan", "takes a number such as 0.5"), ("bench load", "--text_share", "2", "takes a number from 0 to 1"),
                ("ask", "--deadline", "soon", "takes a time such as 30s"), ("ask", "--together", "2", "takes true or false"),
                ("serve", "--dtype", "", "takes a value that is not empty")):
            self.assertIsNone(fault_of(command, option, value, [wanted]))

    def test_an_option_needs_its_value_and_the_last_one_counts(self):
        for command, option in (("ask", "--temperature"), ("status", "--server"), ("budget", "-o"), ("bench load", "--rate")):
            done = run(*command.split(), option)
            self.assertEqual((done.returncode, f"{option} takes a value" in done.stderr), (2, True), done.stderr)
        self.assertIn("--top_k", run("ask", "--top_k=3", "--top_k=x").stderr)
        self.assertEqual(run("plan-capacity", "--gateways=9", "--gateways=2").stdout, run("plan-capacity", "--gateways=2").stdout)

    def test_a_number_is_decimal(self):
        with_zero, without = (run("plan-capacity", f"--vision_batch={value}").stdout for value in ("010", "10"))
        self.assertEqual(with_zero, without)

    def test_names_are_found_by_what_was_meant(self):
        for typed, meant in (("--temprature=1", "--temperature"), ("--max_new_token=3", "--max_new_tokens"), ("--jsn", "--json")):
            done = run("ask", typed)
            self.assertEqual((done.returncode, f"did you mean {meant}?" in done.stderr), (2, True), done.stderr)
        self.assertEqual(run("plan_capacity").returncode, 0)

    def test_what_stands_below_the_options_is_wrapped_once(self):
        for command in set(COMMANDS) - {"completion"}:
            for paragraph in run(*command.split(), "--help").stdout.split("\n\n"):
                lines = paragraph.splitlines()
                if any(line.startswith(" ") for line in lines):
                    continue
                for line, following in zip(lines, lines[1:]):
                    self.assertGreater(len(f"{line} {following.split()[0]}"), 80, f"{command}: {line}")

    def test_help_is_also_a_command(self):
        for words in ([], ["ask"], ["bench", "load"]):
            done = run("help", *words)
            self.assertEqual((done.returncode, done.stdout), (0, run(*words, "--help").stdout), done.stderr)

    def test_a_command_that_is_missing_is_named(self):
        for words, wanted in ((["bench"], "a command is missing behind bench"), ([], "a command is missing, for example")):
            done = run(*words)
            self.assertEqual((done.returncode, wanted in done.stderr), (2, True), done.stderr)

    def test_a_server_address_that_cannot_be_is_no_gateway(self):
        def fault(address, wanted):
            done = run("models", f"--server={address}")
            if (done.returncode, done.stdout, len(done.stderr.splitlines())) != (3, "", 1) or wanted not in done.stderr:
                return f"{address}: exit code {done.returncode}: {done.stdout}{done.stderr}"
            return None if address in done.stderr or "://" in address else f"{address} is not named: {done.stderr}"
        self.assertEqual(in_parallel(fault, PORTS.items()), [])

    def test_files_that_are_none(self):
        with tempfile.TemporaryDirectory() as folder:
            junk = pathlib.Path(folder) / "junk.pem"
            junk.write_text("junk")
            pem = [f"--tls_ca={junk}", f"--tls_cert={junk}"]
            for arguments, wanted in (
                    (["--tls_ca=/nonexistent/ca.pem"], "--tls_ca=/nonexistent/ca.pem: there is no such file"),
                    ([f"--tls_ca={folder}"], f"--tls_ca={folder}: this is a directory"),
                    ([*pem, f"--tls_key={folder}/none"], f"--tls_key={folder}/none: there is no such file"),
                    ([f"--tls_ca={junk}"], "--tls_ca: the file it names holds no PEM certificate"),
                    (pem, "--tls_key")):
                done = run("models", "--server=127.0.0.1:1", *arguments)
                self.assertEqual((done.returncode, wanted in done.stderr), (2, True), done.stderr)
            for command, option in (("attention x", "--out"), ("budget", "--plot")):
                os.makedirs(f"{folder}/b.png", exist_ok=True)
                for file, wanted in (("none/a.png", f"there is no folder {folder}/none"), ("b.png", "this is a directory")):
                    done = run(*command.split(), f"{option}={folder}/{file}")
                    self.assertEqual((done.returncode, f"{option}: cannot write {folder}/{file}: {wanted}" in done.stderr), (1, True), done.stderr)
            done = run("serve", f"--log_folder={junk}", str(DEMO))
            self.assertEqual((done.returncode, f"--log_folder: cannot make {junk}: " in done.stderr), (1, True), done.stderr)
            for key in ("a\nb", "é", " "):
                self.assertIn("--api_key takes printable ASCII", run("models", f"--api_key={key}").stderr)
            self.assertIn("give the file's path, without file://", run("ask", f"file://{junk}").stderr)
            for image in ("/nonexistent.jpg", folder, ""):
                for command in ("ask", "analyze", "attention", "sweep", "bench load", *["bench cost"] * bool(image)):
                    done = run(*command.split(), "--server=127.0.0.1:1", f"--image={image}")
                    self.assertEqual((done.returncode, (image or "--image") in done.stderr), (2, True), (command, image, done.stderr))

    def test_output_that_a_full_disk_did_not_take_is_a_failure(self):
        for arguments in (["--version"], ["--help"], ["ask", "--help"], ["man"], ["completion", "bash"], ["plan-capacity"], ["plan-capacity", "--json"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([DIPTYCH, *arguments], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertRegex(done.stderr, r"^diptych: OUTPUT_NOT_WRITABLE: cannot write standard output.*make room", arguments)

    def test_the_range_of_whole_numbers_is_told_to_whole_numbers_alone(self):
        for value, message in (("many", "takes a whole number, not"), ("16.0", "takes a whole number, not"), ("-", "takes a whole number, not"),
                               ("9999999999", "takes a whole number from -2147483648 to 2147483647, not")):
            self.assertIn(f'--max_new_tokens: {message} "{value}"', run("ask", "x", "-n", value).stderr)

    def test_standard_input_that_is_closed_is_empty(self):
        for redirection in ("<&-", "<&- >&-", "</dev/null"):
            done = subprocess.run(["sh", "-c", f'exec "$0" ask - --server=127.0.0.1:1 {redirection}', DIPTYCH], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (2, "diptych: standard input: this is empty\n"), redirection)

    def test_a_file_that_holds_no_image_is_refused_as_one_that_is_missing(self):
        with tempfile.NamedTemporaryFile(suffix=".png") as empty:
            for image in (empty.name, "/dev/null", "/proc/self/mem"):
                for together in ([], ["--together", "--image", DEMO / "samples" / "red_circle_blue_star.png"], ["--question", "a", "b"]):
                    done = run("ask", image, *together, "--server=127.0.0.1:1")
                    self.assertEqual((done.returncode, done.stderr.count(f"diptych: {image}: th") > 0), (2, True), done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
