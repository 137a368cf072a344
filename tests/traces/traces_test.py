"""The spans that the three processes send to a collector, of requests over HTTP and gRPC.

Usage: traces_test.py FOLDER_OF_BINARIES; run by ctest as `traces_test`.
"""
import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".deps" / "triton"), str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "http")]
try:
    import grpc
except ImportError as error:
    print(f"skipped: grpcio is not installed ({error}); scripts/setup.sh --tests fetches it")
    sys.exit(77)
if not shutil.which("protoc"):
    print("skipped: protoc is not installed (Debian: protobuf-compiler)")
    sys.exit(77)

from collector import CLIENT, INTERNAL, SERVER, Collector  # noqa: E402
from fault_stack import JSON, SAMPLE, Stack  # noqa: E402
from http_stack import key_file  # noqa: E402
from protos import message_classes  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
GATEWAY, LANGUAGE, VISION = SERVICES = "diptych-gateway", "diptych-language", "diptych-vision"
SECRET, QUESTION = "sk-very-secret", "What color is the circle?"
UNSEEN = ROOT / "models" / "demo" / "samples" / "green_circle_purple_cross.png"  # which no other test asks about, so it is in no cache
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def traceparent(trace=TRACE, flags="01"):
    return f"00-{trace}-{PARENT}-{flags}"


class TracesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        keys = pathlib.Path(folder.name) / "keys.json"
        key_file(keys, **{SECRET: {}})
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.stop)
        flags = [f"--otlp_endpoint=127.0.0.1:{cls.collector.port}", "--log_format=json"]
        cls.stack = Stack(BINARIES, gateway_flags=[*flags, f"--api_keys_file={keys}", "--trace_sample_ratio=0"], tier_flags=flags)
        cls.addClassCleanup(cls.stack.stop)

    def ask(self, request_id, text=QUESTION, headers=(), **options):
        headers = {"authorization": f"Bearer {SECRET}", "x-request-id": request_id, **dict(headers)}
        return self.stack.ask(text=text, headers=headers, **options)

    def log_lines(self, process, request_id):
        lines = [json.loads(line) for line in process.log().splitlines()]
        return [line for line in lines if line.get("request_id") == request_id]

    def one(self, spans, service, name):
        found = [span for span in spans if (span.service, span.name) == (service, name)]
        self.assertEqual(len(found), 1, f"{service} {name} of {spans}")
        return found[0]

    def test_an_answer_over_http_is_one_trace_through_all_tiers(self):
        status, answer, _ = self.ask("whole-1", image=UNSEEN.read_bytes(), headers={"traceparent": traceparent(), "tracestate": "vendor=opaque"})
        self.assertEqual(status, 200)
        spans = self.collector.trace("whole-1", SERVICES)
        self.assertEqual({span.trace_id for span in spans}, {TRACE})
        self.assertEqual({span.state for span in spans}, {"vendor=opaque"})
        # Each call hangs under the one that made it.
        ask = self.one(spans, GATEWAY, "diptych.v1.GatewayService/Ask")
        generate = self.one(spans, GATEWAY, "diptych.v1.LanguageService/Generate")
        answered = self.one(spans, LANGUAGE, "diptych.v1.LanguageService/Generate")
        pull = self.one(spans, LANGUAGE, "diptych.v1.VisionService/EncodeImage")
        encoded = self.one(spans, VISION, "diptych.v1.VisionService/EncodeImage")
        self.assertEqual([ask.parent, generate.parent, answered.parent, pull.parent, encoded.parent],
                         [PARENT, ask.id, generate.id, answered.id, pull.id])
        self.assertEqual([span.kind for span in (ask, generate, answered, pull, encoded)], [SERVER, CLIENT, SERVER, CLIENT, SERVER])
        # The stages are parts of their process's call, and lie within it.
        stages = {span.name: span for span in spans if span.parent == answered.id and span.kind == INTERNAL}
        self.assertLessEqual({"tokenize", "images", "qformer", "prefill", "decode"}, set(stages))
        self.assertLessEqual({"image_decode", "vit"}, {span.name for span in spans if span.parent == encoded.id})
        self.assertIn("admission_queue", {span.name for span in spans if span.parent == ask.id})
        for stage in stages.values():
            self.assertLessEqual(stage.begin, stage.end)
            self.assertLessEqual(answered.begin - 10_000_000, stage.begin)
            self.assertLessEqual(stage.end, answered.end + 10_000_000, "two readings of the clock apart")
        # What people on call ask for.
        for span in (ask, answered):
            self.assertEqual(span.attributes["gen_ai.usage.input_tokens"], answer["usage"]["prompt_tokens"])
            self.assertEqual(span.attributes["gen_ai.usage.output_tokens"], answer["usage"]["completion_tokens"])
            self.assertEqual(span.attributes["gen_ai.response.model"], answer["model"])
            self.assertEqual(span.attributes["diptych.finish_reason"], answer["choices"][0]["finish_reason"])
            self.assertEqual(span.events, ["first_token"])
        for span in (ask, answered, encoded):
            self.assertEqual(span.attributes["diptych.key"], "caller-0")
            self.assertEqual(span.attributes["rpc.response.status_code"], "OK")
            self.assertFalse(span.failed)
        self.assertIn(f":{self.stack.languages[0].port}", generate.attributes["diptych.replica"])
        self.assertIn(f":{self.stack.visions[0].port}", pull.attributes["diptych.replica"])
        self.assertTrue(all(span.resource["service.version"] for span in spans))

    def test_histograms_name_the_trace(self):
        trace = "3" * 32
        self.assertEqual(self.ask("exemplar-1", text="Which one?", headers={"traceparent": traceparent(trace)})[0], 200)
        for process in (self.stack.gateway, *self.stack.languages):
            request = urllib.request.Request(f"http://127.0.0.1:{process.metrics_port}/metrics",
                                             headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
            with urllib.request.urlopen(request, timeout=60) as reply:
                self.assertTrue(reply.headers["content-type"].startswith("application/openmetrics-text"))
                page = reply.read().decode()
            for name in ("request_seconds", "time_to_first_token_seconds", "stage_seconds"):
                self.assertRegex(page, rf'diptych_{name}_bucket{{.*}} \d+ # {{trace_id="{trace}"}}')

    def test_the_log_tells_the_trace(self):
        trace = "1" * 32
        self.assertEqual(self.ask("logged-1", text="A question of its own?", headers={"traceparent": traceparent(trace)})[0], 200)
        self.collector.trace("logged-1", [GATEWAY, LANGUAGE])
        for process in (self.stack.gateway, *self.stack.languages):
            self.assertEqual([line["trace_id"] for line in self.log_lines(process, "logged-1")], [trace])

    def test_a_trace_that_is_not_sampled_goes_on_and_is_not_recorded(self):
        trace = "2" * 32
        self.assertEqual(self.ask("unsampled-1", headers={"traceparent": traceparent(trace, "00")})[0], 200)
        self.assertEqual([line["trace_id"] for line in self.log_lines(self.stack.languages[0], "unsampled-1")], [trace])
        self.assertNotIn(trace, self.recorded_until("marked-1"))

    def test_a_parent_that_is_none_begins_a_trace_of_our_own(self):
        """Which --trace_sample_ratio=0 leaves unrecorded."""
        hostile = ["00-" + "0" * 32 + f"-{PARENT}-01", traceparent(TRACE.upper()), "ff" + traceparent()[2:], traceparent() + "-00",
                   "x" * 8000, "", "00-%00-01"]
        for number, value in enumerate(hostile):
            request_id = f"hostile-{number}"
            status, answer, _ = self.ask(request_id, headers={"traceparent": value})
            self.assertEqual(status, 200, f"{value}: {answer}")
            line, = self.log_lines(self.stack.gateway, request_id)
            self.assertRegex(line["trace_id"], "^[0-9a-f]{32}$")
            self.assertNotEqual(line["trace_id"], TRACE)
        self.recorded_until("marked-2")
        of_hostile = [span for span in self.collector.spans if span.attributes.get("diptych.request_id", "").startswith("hostile")]
        self.assertEqual(of_hostile, [])

    def test_an_error_has_its_reason_and_no_message(self):
        trace = "3" * 32
        self.assertEqual(self.ask("refused-1", image=b"no image", headers={"traceparent": traceparent(trace)})[0], 400)
        ask = self.one(self.collector.trace("refused-1", [GATEWAY]), GATEWAY, "diptych.v1.GatewayService/Ask")
        self.assertEqual(ask.attributes["error.type"], "IMAGE_FORMAT")
        self.assertEqual(ask.attributes["rpc.response.status_code"], "INVALID_ARGUMENT")
        self.assertFalse(ask.failed, "it is the caller's fault")
        self.assertEqual(ask.message, "")

    def test_streams_and_analyses_over_grpc_are_traced(self):
        trace = "4" * 32
        request, = message_classes("diptych/v1/gateway.proto", "diptych.v1.AskStreamRequest")
        asked = request(question={"request_id": "grpc-1", "prompt": QUESTION}).SerializeToString()
        with grpc.insecure_channel(f"127.0.0.1:{self.stack.gateway.port}") as channel:
            ask = channel.unary_stream("/diptych.v1.GatewayService/AskStream")
            list(ask(asked, metadata=[("authorization", f"Bearer {SECRET}"), ("traceparent", traceparent(trace))]))
        spans = self.collector.trace("grpc-1", [GATEWAY, LANGUAGE])
        self.assertEqual({span.trace_id for span in spans}, {trace})
        self.one(spans, GATEWAY, "diptych.v1.GatewayService/AskStream")

        trace = "5" * 32
        headers = {"authorization": f"Bearer {SECRET}", "x-request-id": "analysis-1", "traceparent": traceparent(trace)}
        image = base64.b64encode(SAMPLE).decode()
        connection = self.stack.connect()
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/diptych/analyze", json.dumps({"image": image, "qformer_attention": True}), JSON | headers)
        self.assertEqual(connection.getresponse().status, 200)
        spans = self.collector.trace("analysis-1", SERVICES)
        analysis = self.one(spans, GATEWAY, "diptych.v1.GatewayService/AnalyzeImage")
        for service, method in ((VISION, "diptych.v1.VisionService/AnalyzeVision"), (LANGUAGE, "diptych.v1.LanguageService/AnalyzeQueries")):
            asked = self.one(spans, GATEWAY, method)
            self.assertEqual(asked.parent, analysis.id)
            self.assertEqual(self.one(spans, service, method).parent, asked.id)

    def test_nothing_private_is_in_a_span(self):
        question = "An entirely private matter?"
        self.assertEqual(self.ask("private-1", text=question, headers={"traceparent": traceparent("6" * 32)})[0], 200)
        self.collector.trace("private-1", [GATEWAY, LANGUAGE])
        for secret in (question, SECRET, "private matter"):
            self.assertNotIn(secret.encode(), self.collector.raw)

    def recorded_until(self, request_id):
        """The ids of all traces recorded up to a request that is made now and is recorded."""
        trace = request_id.encode().hex().rjust(32, "7")
        self.assertEqual(self.ask(request_id, headers={"traceparent": traceparent(trace)})[0], 200)
        self.collector.trace(request_id, [GATEWAY, LANGUAGE])
        return {span.trace_id for span in self.collector.spans}


class SamplingTest(unittest.TestCase):
    """A stack whose gateway begins traces, beside a collector that comes late."""

    def test_roots_are_recorded_by_their_share_and_the_tiers_follow(self):
        late = Collector()
        port = late.port
        late.stop()  # nobody listens there now
        flags = [f"--otlp_endpoint=127.0.0.1:{port}"]
        with Stack(BINARIES, gateway_flags=flags, tier_flags=[*flags, "--trace_sample_ratio=0"]) as stack:
            self.assertEqual(stack.ask(headers={"x-request-id": "late-1"})[0], 200, "whether or not anybody takes spans")
            collector = Collector(port)
            self.addCleanup(collector.stop)
            spans = collector.trace("late-1", SERVICES)
            ask, = [span for span in spans if span.name.endswith("/Ask")]
            self.assertEqual(ask.parent, "", "it begins the trace")
            self.assertGreater(len(spans), 10)
            self.assertEqual(stack.gateway.metric("diptych_spans_dropped_total"), 0)

    def test_a_gateway_without_a_collector_hands_on_what_came(self):
        collector = Collector()
        self.addCleanup(collector.stop)
        with Stack(BINARIES, vision_flags=[f"--otlp_endpoint=127.0.0.1:{collector.port}"]) as stack:
            self.assertEqual(stack.ask(headers={"x-request-id": "through-1", "traceparent": traceparent(), "tracestate": "a=1"})[0], 200)
            encoded, = [span for span in collector.trace("through-1", [VISION]) if span.kind == SERVER]
            self.assertEqual((encoded.trace_id, encoded.parent, encoded.state), (TRACE, PARENT, "a=1"))

    def test_an_end_of_the_process_sends_what_it_has(self):
        collector = Collector()
        self.addCleanup(collector.stop)
        with Stack(BINARIES, gateway_flags=[f"--otlp_endpoint=127.0.0.1:{collector.port}"]) as stack:
            self.assertEqual(stack.ask(headers={"x-request-id": "last-1"})[0], 200)
            self.assertEqual(stack.gateway.stop(), 0)
            self.assertEqual(len([span for span in collector.spans if span.kind == SERVER]), 1)

    def test_flags_that_do_not_fit_are_refused_by_name(self):
        for flag in ("--otlp_endpoint=http://localhost:4317", "--otlp_endpoint=localhost", "--otlp_endpoint=localhost:0",
                     "--otlp_endpoint=localhost:4317/v1/traces", "--trace_sample_ratio=2", "--trace_sample_ratio=-1", "--trace_sample_ratio=nan"):
            ended = subprocess.run([BINARIES / "gateway", "--listen=127.0.0.1:0", "--http_listen=", "--metrics_listen=", flag], text=True,
                                   capture_output=True, timeout=60)
            self.assertNotEqual(ended.returncode, 0, flag)
            self.assertIn(flag.split("=")[0], ended.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
