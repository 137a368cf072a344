"""Node's gRPC client and OpenAI's Python client stream answers while language replicas are killed (fault_case.py)."""
import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
if not shutil.which("node") or not (ROOT / ".deps/grpc_node/node_modules").is_dir():
    print("skipped: Node or its gRPC client is missing; scripts/setup.sh --tests fetches them")
    sys.exit(77)

from fault_case import BINARIES, WHOLE, FaultCase, run  # noqa: E402
from fault_stack import Stack  # noqa: E402

sys.path.insert(0, str(ROOT / ".deps" / "openai"))
try:
    import openai
except ImportError:
    openai = None

STREAMS, AT_ONCE, TOKENS = 100 if WHOLE else 20, 10, 80


def stream_by_grpc_js(stack):
    command = ["node", ROOT / "tests/faults/grpc_js_streams.cjs", f"127.0.0.1:{stack.gateway.port}", str(STREAMS), str(AT_ONCE)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def stream_by_openai(stack):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{stack.http_port}/v1", api_key="none", max_retries=0) as client, \
            concurrent.futures.ThreadPoolExecutor(AT_ONCE) as callers:
        def answer(number):
            pieces = client.completions.create(model="demo", prompt=f"What is number {number}?", max_tokens=TOKENS, stream=True, seed=number,
                                               extra_body={"min_tokens": TOKENS})
            return {"text": "".join(choice.text for piece in pieces for choice in piece.choices)}
        return list(callers.map(answer, range(STREAMS)))


class ForeignClientsTest(FaultCase):
    def test_streams_of_grpc_js_outlive_language_replicas(self):
        self.outlive(stream_by_grpc_js)

    @unittest.skipUnless(openai, "scripts/setup.sh --tests installs OpenAI's client")
    def test_streams_of_openais_client_outlive_language_replicas(self):
        self.outlive(stream_by_openai)

    def outlive(self, stream):
        with Stack(BINARIES, language=2) as stack:
            expected = stream(stack)
            self.assertEqual([outcome for outcome in expected if not outcome.get("text")], [])
            stopped = threading.Event()
            killer = threading.Thread(target=self.kill_again_and_again, args=(stack, stopped, 0.3))
            killer.start()
            rounds, end = [], time.monotonic() + 60  # however seldom a kill falls into a stream
            try:
                while not rounds or (time.monotonic() < end and not stack.gateway.metric("diptych_retries_total")):
                    rounds.append(stream(stack))
            finally:
                stopped.set()
                killer.join()
            for streamed in rounds:
                self.assertEqual(streamed, expected)
            stack.await_idle()
            resumed = stack.gateway.metric("diptych_retries_total")
            self.assertGreater(resumed, 0, "no stream was hit")
            self.measure(f"{(count := STREAMS * len(rounds))} of {count} whole and identical, with {resumed:.0f} calls taken over")


if __name__ == "__main__":
    run()
