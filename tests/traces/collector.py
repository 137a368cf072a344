"""A small OpenTelemetry collector: takes spans by OTLP over gRPC and keeps them.

`python3 tests/traces/collector.py PORT` prints the traces that come, as trees.
"""
import pathlib
import sys
import threading
import time
from concurrent import futures

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".deps" / "triton"))

import grpc  # noqa: E402
from protos import message_classes  # noqa: E402

PACKAGE = "opentelemetry.proto.collector.trace.v1"
INTERNAL, SERVER, CLIENT = 1, 2, 3


class Span:
    """One span, with the service that it is of."""

    def __init__(self, resource, span):
        self.service = resource["service.name"]
        self.resource = resource
        self.name, self.kind = span.name, span.kind
        self.trace_id, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.state = span.trace_state
        self.begin, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.failed = span.status.code == 2
        self.message = span.status.message
        self.attributes = values_of(span.attributes)
        self.events = [event.name for event in span.events]

    def __repr__(self):
        return f"{self.service} {self.name} {self.attributes}"


def values_of(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Collector:
    """Listens on a free port, or on `port`."""

    def __init__(self, port=0):
        request, response = message_classes("opentelemetry/proto/collector/trace/v1/trace_service.proto",
                                            f"{PACKAGE}.ExportTraceServiceRequest", f"{PACKAGE}.ExportTraceServiceResponse")
        self._arrived = threading.Condition()
        self.spans = []
        self.raw = b""
        handler = grpc.unary_unary_rpc_method_handler(self._export, request_deserializer=request.FromString,
                                                      response_serializer=response.SerializeToString)
        self._response = response
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(f"{PACKAGE}.TraceService", {"Export": handler})])
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def _export(self, request, _):
        with self._arrived:
            self.raw += request.SerializeToString()
            for resource in request.resource_spans:
                of = values_of(resource.resource.attributes)
                self.spans += [Span(of, span) for scope in resource.scope_spans for span in scope.spans]
            self._arrived.notify_all()
        return self._response()

    def wait(self, found, seconds=60):
        """The spans for which `found` says that they are enough."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: found(self.spans), seconds):
                raise AssertionError(f"the spans did not come: {self.spans}")
            return list(self.spans)

    def trace(self, request_id, services, seconds=60):
        """All spans of the trace of this request, once the spans of its calls in these services are there."""
        def calls(spans):
            return {span.service: span.trace_id for span in spans
                    if span.kind == SERVER and span.attributes.get("diptych.request_id") == request_id}

        spans = self.wait(lambda spans: set(services) <= set(calls(spans)), seconds)
        trace, = set(calls(spans).values())
        return [span for span in spans if span.trace_id == trace]

    def stop(self):
        self._server.stop(None).wait()


def tree(spans):
    """One trace as lines: begin and length in ms, service, name and what is known; children under their parents."""
    start, ids = min(span.begin for span in spans), {span.id for span in spans}
    lines = []

    def add(span, depth):
        known = " ".join(f"{key}={value}" for key, value in span.attributes.items() if value != 0 and not key.startswith("rpc."))
        lines.append(f"{(span.begin - start) / 1e6:8.1f} {(span.end - span.begin) / 1e6:8.1f}  {'  ' * depth}"
                     f"{span.service.removeprefix('diptych-')}: {span.name.removeprefix('diptych.v1.')}  {known}".rstrip())
        for child in sorted((each for each in spans if each.parent == span.id), key=lambda each: each.begin):
            add(child, depth + 1)

    for root in (span for span in spans if span.parent not in ids):
        add(root, 0)
    return "\n".join(lines)


def print_traces(port):
    """Prints each trace once no span of it has come for two seconds; never returns."""
    collector, printed = Collector(port), set()
    print(f"listening on port {collector.port}", flush=True)
    while True:
        time.sleep(2)
        traces = {span.trace_id for span in collector.spans} - printed
        quiet = {trace for trace in traces if max(s.end for s in collector.spans if s.trace_id == trace) < time.time_ns() - 2_000_000_000}
        for trace in sorted(quiet):
            print(f"trace {trace}\n{tree([span for span in collector.spans if span.trace_id == trace])}", flush=True)
        printed |= quiet


if __name__ == "__main__":
    print_traces(int(sys.argv[1]))
