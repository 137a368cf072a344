"""The spans of one question as OpenTelemetry's own collector takes and writes them.

Usage: opentelemetry_collector_test.py FOLDER_OF_BINARIES; run by ctest as `opentelemetry_collector_test`, where the collector is built
(tests/traces/opentelemetry_collector/build.sh).
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTOR = ROOT / ".deps" / "otel" / "collector"
if not COLLECTOR.exists():
    print("skipped: the collector is not built; tests/traces/opentelemetry_collector/build.sh builds it in two minutes")
    sys.exit(77)
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "http")]

from fault_stack import SAMPLE, Stack, free_port  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
SERVICES = {"diptych-gateway", "diptych-language", "diptych-vision"}
PATIENCE = 60  # seconds
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CONFIGURATION = """
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{port}}}}}}}}}
exporters: {{file: {{path: {file}}}}}
service:
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
  telemetry: {{metrics: {{level: none}}}}
"""


class OpenTelemetryCollectorTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "spans.json"
        configuration = pathlib.Path(folder.name) / "collector.yaml"
        port = free_port()
        configuration.write_text(CONFIGURATION.format(port=port, file=self.file))
        self.log = tempfile.TemporaryFile("w+")
        self.addCleanup(self.log.close)
        collector = subprocess.Popen([COLLECTOR, f"--config=file:{configuration}"], stderr=self.log)
        self.addCleanup(lambda: (collector.terminate(), collector.wait()))
        flags = [f"--otlp_endpoint=127.0.0.1:{port}"]
        self.stack = Stack(BINARIES, gateway_flags=flags, tier_flags=flags)
        self.addCleanup(self.stack.stop)

    def spans(self):
        """What the collector has written, as (service, span)."""
        lines = self.file.read_text().split("\n")[:-1] if self.file.exists() else []  # the last may be half written
        for resource in (each for line in lines for each in json.loads(line)["resourceSpans"]):
            service = next(each["value"]["stringValue"] for each in resource["resource"]["attributes"] if each["key"] == "service.name")
            yield from ((service, span) for scope in resource["scopeSpans"] for span in scope["spans"])

    def trace(self):
        """The spans of our trace, once each service has sent its call's."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            spans = [(service, span) for service, span in self.spans() if span["traceId"] == TRACE]
            if {service for service, span in spans if span["kind"] == 2} == SERVICES:
                return spans
            time.sleep(0.2)
        self.log.seek(0)
        self.fail(f"the collector has {list(self.spans())} and says {self.log.read()}")

    def test_takes_the_spans_of_a_question_through_all_tiers(self):
        parent = "00f067aa0ba902b7"
        status, answer, _ = self.stack.ask(image=SAMPLE, headers={"traceparent": f"00-{TRACE}-{parent}-01"})
        self.assertEqual(status, 200)
        spans = self.trace()
        ids = {span["spanId"] for _, span in spans}
        self.assertEqual([span["name"] for _, span in spans if span.get("parentSpanId") == parent], ["diptych.v1.GatewayService/Ask"])
        self.assertLessEqual({span["parentSpanId"] for _, span in spans}, ids | {parent})
        names = {span["name"] for _, span in spans}
        self.assertLessEqual({"admission_queue", "image_decode", "vit", "qformer", "prefill", "decode"}, names)
        generate = next(span for service, span in spans if service == "diptych-language" and span["kind"] == 2)
        attributes = {each["key"]: each["value"] for each in generate["attributes"]}
        self.assertEqual(int(attributes["gen_ai.usage.output_tokens"]["intValue"]), answer["usage"]["completion_tokens"])
        for _, span in spans:
            self.assertLessEqual(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))


if __name__ == "__main__":
    unittest.main()
