"""Gives each flag of the servers values that it must refuse: one line that names the flag and what it takes.

Usage: flags_test.py VISION_SERVICE LANGUAGE_SERVICE GATEWAY; run by ctest as `flags_test`.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
VISION, LANGUAGE, GATEWAY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])

TIMES = ("-1s", "5", "5sec", "", "inf", "-inf", "99999999h", "soon")
COUNTS = ("-1", "1.5", "9999999999999999999999", "", "many", "1e3", "nan")
SHARES = ("-0.1", "1.5", "nan", "inf", "", "half")
BYTES = ("-1", "1XB", "9999999999TiB", "", "lots")
BOOLS = ("maybe", "2")
ADDRESSES = ("127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x", "::1:7000", "[::1]:70000", ":7000")
TARGETS = ("127.0.0.1:0", "127.0.0.1:65536", "http://127.0.0.1:7000")
FILES = ("/nonexistent/file", "/")
WORDS = ("loud", "")

TIER = {
    "model": FILES, "device": ("tpu", "cuda:x", ""), "dtype": ("float8", "fp8", ""), "cuda_graphs": (*BOOLS, "true"), "memory_limit": BYTES, "tls_cert": FILES,
    "tls_key": FILES, "tls_client_ca": FILES, "threads": COUNTS, "queue_limit": (*COUNTS, "0"), "max_inflight_bytes": (*BYTES, "0"),
    "max_image_bytes": (*BYTES, "0", "1TiB"), "max_image_pixels": (*COUNTS, "0"), "max_connection_age": (*TIMES, "0"),
    "drain_delay": TIMES, "drain_timeout": TIMES, "otlp_endpoint": ("http://collector:4317", "collector", "collector:0"),
    "trace_sample_ratio": SHARES, "log_level": WORDS, "log_format": WORDS, "listen": (*ADDRESSES, ""), "metrics_listen": ADDRESSES,
    "max_batch": COUNTS, "memory_fraction": (*SHARES, "0"), "cache_bytes": BYTES,
}
TABLE = {
    VISION: {**TIER, "image_workers": (*COUNTS, "0"), "image_decode": WORDS, "show_devices": BOOLS},
    LANGUAGE: {
        **TIER, "metrics_compat": ("triton",), "vision_target": (*TARGETS, ""), "wire_dtype": ("float8", ""), "kv_dtype": ("int4", ""), "affinity": WORDS,
        "wait_for_vision": BOOLS, "max_batched_tokens": COUNTS, "kv_cache_bytes": BYTES, "nice": (*COUNTS, "20"),
        "round_to": ("/proc/none",),
    },
    GATEWAY: {
        **{name: TIER[name] for name in (
            "tls_cert", "tls_key", "tls_client_ca", "max_inflight_bytes", "max_image_bytes", "max_image_pixels", "drain_delay",
            "drain_timeout", "otlp_endpoint", "trace_sample_ratio", "log_level", "log_format", "listen", "metrics_listen")},
        "http_listen": ADDRESSES, "http_hosts": ("http://a", "a,,b", "a:80", "a b", "*a", "*.*.a", "a/b", "[::1]"),
        "cors_origins": ("a", "https://a/b", "https://a,,https://b"), "language_target": (*TARGETS, ""),
        "vision_target": (*TARGETS, ""), "affinity": WORDS, "served_model_name": ("a,,b", "x" * 10_000), "system_prompt": WORDS,
        "api_keys_file": FILES, "shared_cache": BOOLS, "allow_image_urls": BOOLS, "max_inflight": (*COUNTS, "0"),
        "request_timeout": (*TIMES, "0"), "tls_tier_ca": FILES,
    },
}


def defaults(binary):
    if binary == GATEWAY:
        return ["--listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", "--metrics_listen="]
    return ["--listen=127.0.0.1:0", "--metrics_listen=", f"--model={ROOT / 'models' / 'demo'}", "--threads=1"]


def refusals(binary, *arguments, **environment):
    """The lines on standard error."""
    done = subprocess.run([binary, "--log_level=off", *defaults(binary), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, env={**os.environ, **environment})
    assert done.returncode == 1, (arguments, done.returncode, done.stderr)
    assert done.stdout == "", (arguments, done.stdout)
    return done.stderr.splitlines()


def refusal(binary, *arguments, **environment):
    """The only one."""
    line, = refusals(binary, *arguments, **environment)
    return line


def tried(binary, flag, values):
    """Of the tiers two values a flag, or one where the gateway has the flag too, and of the language tier its own flags only: a tier takes
    half a second to start."""
    if binary == GATEWAY:
        return values
    if binary == LANGUAGE and flag in TIER:
        return ()
    return values[-1:] if flag in TABLE[GATEWAY] else tuple(dict.fromkeys((values[0], values[-1])))


def rounds():
    """(binary, {flag: value}): the first value of each flag, then the second, and so on."""
    for binary, table in TABLE.items():
        given = {flag: tried(binary, flag, values) for flag, values in table.items()}
        for number in range(max(map(len, given.values()))):
            yield binary, {flag: values[number] for flag, values in given.items() if number < len(values)}


def names(line, flag, value):
    return any(word in line for word in (f"--{flag}", f'{flag} "{value}"', f"{value}: ", f"{value} holds", f"{value}.unfinished", "--tls_cert and"))


def wrong(binary, values):
    """What is taken, or refused without its name: all at once, which tells of all values that are none of their flag's type, then each other one alone."""
    typed = {flag: f"--{flag}={value}" for flag, value in values.items()}
    told = refusals(binary, *typed.values()) if len(typed) > 1 else []
    for flag, word in typed.items():
        if any(line.startswith(f"{binary.name}: {word}: ") for line in told):
            continue
        try:
            line = refusal(binary, word)
        except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:
            yield f"{binary.name} {word[:80]}: {error}"
        else:
            if not names(line, flag, values[flag]):
                yield f"{binary.name} {word[:80]}: the flag is not named: {line}"


class FlagsTest(unittest.TestCase):
    def test_the_table_has_every_flag(self):
        for binary, table in TABLE.items():
            told = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=60).stdout
            self.assertEqual(set(re.findall(r"^    --(\w+)", told, re.M)), set(table), binary.name)

    def test_secrets_come_from_files(self):
        """Others on the machine see flags and variables."""
        for binary, table in TABLE.items():
            secrets = {flag for flag in table if re.search("key|secret|password|credential|salt|auth", flag)}
            self.assertEqual(secrets, {"tls_key", "api_keys_file"} & set(table), binary.name)
            self.assertTrue(all(table[flag] is FILES for flag in secrets), binary.name)

    def test_help_names_the_environment_and_files_of_the_project(self):
        for binary in TABLE:
            shown = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=60).stdout
            self.assertIn("as DIPTYCH_<NAME>", shown, binary)
            files = set(re.findall(r"^  Flags from (.*):$", shown, re.M))
            tier = set() if binary == GATEWAY else {"common/tiers/tier_process.cc"}
            self.assertEqual(files, {f"{binary.name}/main.cc"} | tier)

    def test_help_is_no_failure(self):
        for binary in TABLE:
            for flag in ("--help", "-help", "--helpfull", "--version"):
                done = subprocess.run([binary, flag], capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""), f"{binary.name} {flag}")
                self.assertIn(binary.name, done.stdout)
                with open("/dev/full", "w") as full:
                    self.assertEqual(subprocess.run([binary, flag], stdout=full, stderr=subprocess.DEVNULL, timeout=60).returncode, 1)

    def test_each_refuses_what_does_not_fit(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = [line for lines in pool.map(lambda one: list(wrong(*one)), rounds()) for line in lines]
        self.assertEqual(found, [], "\n".join(found))

    def test_tells_all_mistakes_of_a_command_line_at_once(self):
        self.assertEqual(refusals(GATEWAY, "--max_inflite", "3", "--drain_timeout=5", "--max_inflight=many", "word", DIPTYCH_REQUEST_TIMEOUT="5"), [
            "gateway: DIPTYCH_REQUEST_TIMEOUT=5: takes a time with its unit, for example 250ms, 30s or 5m",
            "gateway: --max_inflite is not a flag; did you mean --max_inflight? --help lists all",
            "gateway: --drain_timeout=5: takes a time with its unit, for example 250ms, 30s or 5m",
            "gateway: --max_inflight=many: takes a whole number up to 2147483647",
            "gateway: takes flags only, --name=value, not 'word'; --help lists all"])

    def test_says_what_a_value_has_to_be(self):
        self.assertEqual(refusal(GATEWAY, "--drain_timeout=5"),
                         "gateway: --drain_timeout=5: takes a time with its unit, for example 250ms, 30s or 5m")
        self.assertEqual(refusal(GATEWAY, "--drain_timeout", "-1s"),
                         "gateway: --drain_timeout=-1s: takes a time from 0 to a year (8760h)")
        self.assertEqual(refusal(GATEWAY, DIPTYCH_DRAIN_TIMEOUT="5"),
                         "gateway: DIPTYCH_DRAIN_TIMEOUT=5: takes a time with its unit, for example 250ms, 30s or 5m")
        self.assertIn("takes a number of bytes", refusal(VISION, "--cache_bytes=x"))
        self.assertIn("takes image or none", refusal(GATEWAY, "--affinity=x"))

    def test_finds_the_flag_that_was_meant(self):
        for typed in ("--max_inflite=3", "--max-inflight=3", "--Max_Inflight=3", "--maxinflight", "-max_infligth=3", "--max_infl"):
            self.assertIn("did you mean --max_inflight? --help lists all", refusal(GATEWAY, typed), typed)
        for typed in ("--xyzzy", "--=3", "--nomax_inflight=3", "--nothing", "---"):
            self.assertIn(" is not a flag; ", refusal(GATEWAY, typed), typed)

    def test_takes_no_flags_from_files(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"--flagfile={file.name}\n")
            file.flush()
            for typed in (f"--flagfile={file.name}", "--fromenv=HOME", "--tryfromenv=HOME", "--undefok=xyzzy"):
                self.assertIn(" is not a flag; ", refusal(GATEWAY, typed), typed)

    def test_refuses_what_is_no_flag(self):
        for binary in (VISION, GATEWAY):
            for arguments in (["max_inflight=3"], ["-"], ["--", "word"], ["two", "words"]):
                self.assertIn("takes flags only", refusal(binary, *arguments), arguments)
        self.assertIn("takes flags only", refusal(GATEWAY, "--shared_cache", "true"))
        self.assertIn("--max_inflight takes a value", refusal(GATEWAY, "--max_inflight"))
        self.assertIn("--max_inflight takes a value", refusal(GATEWAY, "--max_inflight", "--shared_cache"))

    def test_the_last_of_two_counts(self):
        self.assertIn("--max_inflight takes", refusal(GATEWAY, "--max_inflight=3", "--max_inflight=0"))
        told = refusal(GATEWAY, "--max_inflight=0", "--max_inflight=3", "--noshared_cache", "--system_prompt=x")
        self.assertIn("--system_prompt", told)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
