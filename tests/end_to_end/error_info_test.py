"""Every call of every service, with requests that fail: each error has a google.rpc.ErrorInfo with the reason that docs/faq.md lists.

Usage: error_info_test.py FOLDER_OF_BINARIES; run by ctest as `error_info_test`. Skipped without protoc and grpcio. Left out: what gRPC says
itself, before a server sees the call, as of a message above the limit or of a deadline that passes at the caller.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".deps" / "triton"), str(ROOT / "tests" / "http")]
try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    print(f"skipped: grpcio is not installed ({error}); scripts/setup.sh --tests fetches it")
    sys.exit(77)
if shutil.which("protoc") is None:
    print("skipped: there is no protoc")
    sys.exit(77)

from http_stack import SAMPLE, KeyedStack, Stack  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1))
PROTOS = ("diptych/v1/gateway.proto", "diptych/v1/language.proto", "diptych/v1/vision.proto", "inference/grpc_service.proto",
          "google/rpc/error_details.proto", "google/rpc/status.proto")
GATEWAY, INFERENCE = "diptych.v1.GatewayService", "inference.GRPCInferenceService"
SERVICES = {GATEWAY: "grpc_port", INFERENCE: "grpc_port", "diptych.v1.LanguageService": "language_port",
            "diptych.v1.VisionService": "vision_port"}
DOCUMENTED = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "faq.md").read_text().split("## What does this error mean?")[1]))


def load_protos():
    pool = descriptor_pool.DescriptorPool()
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["protoc", f"-I{ROOT}/proto", "--include_imports", f"--descriptor_set_out={file.name}", *PROTOS], check=True)
        for described in descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes()).file:
            pool.Add(described)
    return pool


POOL = load_protos()
METHODS = [(service, method) for service in SERVICES for method in POOL.FindServiceByName(service).methods]


def message(name):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def details_of(error):
    """Reason, domain, metadata and whether a time to try again is given."""
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    found = {"reason": "", "domain": "", "metadata": {}, "retry": False}
    for detail in message("google.rpc.Status").FromString(raw).details:
        if detail.type_url.endswith("google.rpc.ErrorInfo"):
            info = message("google.rpc.ErrorInfo").FromString(detail.value)
            found.update(reason=info.reason, domain=info.domain, metadata=dict(info.metadata))
        found["retry"] |= detail.type_url.endswith("google.rpc.RetryInfo")
    return found


class Outcome:
    def __init__(self, code, details, responses=()):
        self.code, self.details, self.responses = code, details, responses


def call(stack, service, method, request, metadata=()):
    in_stream, out_stream = (method.client_streaming, method.server_streaming) if hasattr(method, "name") else (False, False)
    name = getattr(method, "name", method)
    with grpc.insecure_channel(f"127.0.0.1:{getattr(stack, SERVICES[service])}", options=[("grpc.enable_retries", 0)]) as channel:
        kind = f"{'stream' if in_stream else 'unary'}_{'stream' if out_stream else 'unary'}"
        stub = getattr(channel, kind)(f"/{service}/{name}")
        try:
            got = stub(iter([request]) if in_stream else request, timeout=60, metadata=metadata)
            return Outcome("OK", {}, list(got) if out_stream else [got])
        except grpc.RpcError as error:
            return Outcome(error.code().name, details_of(error))


def fill_tensors(request, image, text, tokens):
    def add(name, kind, field, value):
        tensor = request.inputs.add(name=name, datatype=kind, shape=[1])
        getattr(tensor.contents, field).append(value)
    request.model_name = "demo"
    add("prompt", "BYTES", "bytes_contents", text.encode())
    if image is not None:
        add("image", "BYTES", "bytes_contents", image)
    if tokens:
        add("max_tokens", "INT32", "int_contents", tokens)
        add("min_new_tokens", "INT32", "int_contents", tokens)


def request_for(method, image=None, text="hi", tokens=0):
    """What asks `text` about the image, as far as the call takes that."""
    request = message(method.input_type.full_name)()
    fields = request.DESCRIPTOR.fields_by_name
    if "question" in fields:
        if image is not None:
            request.question.images.add().data = image
        request.question.turns.add(role=1, text=text)
        if tokens:
            request.question.generation.max_new_tokens = request.question.generation.min_new_tokens = tokens
    if "image" in fields and fields["image"].message_type:
        request.image.data = image or b""
    elif "image" in fields:
        request.image = image or b""
    if method.name in ("ModelInfer", "ModelStreamInfer"):
        fill_tensors(request, image, text, tokens)
    if "text" in fields:
        request.text = text
    return request.SerializeToString()


class ErrorInfoTest(unittest.TestCase):
    def setUp(self):
        self.stack = None

    def tearDown(self):
        if self.stack is not None:
            self.stack.stop()

    def failures(self, request, ports=("grpc_port", "language_port", "vision_port"), metadata=()):
        """The codes of the calls that fail, each error checked; those inside a stream say why."""
        codes = {}
        for service, method in METHODS:
            if SERVICES[service] not in ports:
                continue
            outcome = call(self.stack, service, method, request(method), metadata)
            name = f"{service}/{method.name}"
            if outcome.code != "OK":
                codes[method.name] = (outcome.code, outcome.details["reason"])
                self.check(name, outcome)
            elif method.name == "ModelStreamInfer" and outcome.responses:
                last = message("inference.ModelStreamInferResponse").FromString(outcome.responses[-1])
                if last.error_message:
                    codes[method.name] = ("in the stream", last.error_message)
        return codes

    def check(self, name, outcome):
        details = outcome.details
        self.assertIn(details["reason"], DOCUMENTED, name)
        self.assertEqual(details["domain"], "diptych", name)
        if outcome.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            self.assertTrue(details["retry"], (name, details))
        if outcome.code == "DEADLINE_EXCEEDED":
            self.assertEqual(details["metadata"].get("limit"), "request_timeout", name)
            self.assertTrue(details["metadata"].get("stage"), name)

    def test_requests_that_are_wrong(self):
        self.stack = Stack(BINARIES)
        garbage = self.failures(lambda method: b"\xff\xff\xff")
        self.assertEqual(set(garbage), {method.name for _, method in METHODS})
        self.assertTrue(garbage.pop("ModelStreamInfer")[1].startswith("MALFORMED_REQUEST: "))
        self.assertEqual(set(garbage.values()), {("INVALID_ARGUMENT", "MALFORMED_REQUEST")})
        empty = self.failures(lambda method: b"")
        self.assertLessEqual({"Ask", "AskStream", "AnalyzeImage", "ModelInfer", "ModelStreamInfer", "Generate", "EncodeImage"}, set(empty))
        image = self.failures(lambda method: request_for(method, b"no image"))
        for name in ("Ask", "AskStream", "AnalyzeImage", "ModelInfer", "EncodeImage", "AnalyzeVision", "Generate"):
            self.assertEqual(image[name], ("INVALID_ARGUMENT", "IMAGE_FORMAT"), name)
        self.assertIn("ModelStreamInfer", image)
        long = self.failures(lambda method: request_for(method, SAMPLE.read_bytes(), "word " * 5000))
        for name in ("Ask", "AskStream", "ModelInfer", "Generate"):
            self.assertEqual(long[name], ("OUT_OF_RANGE", "CONTEXT_LENGTH_EXCEEDED"), name)
        for service in SERVICES:
            outcome = call(self.stack, service, "Nothing", b"")
            self.assertEqual((outcome.code, outcome.details["reason"]), ("UNIMPLEMENTED", "UNIMPLEMENTED"), service)

    def test_callers_without_a_key(self):
        self.stack = KeyedStack(BINARIES)
        open_calls = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata"}
        for metadata in ((), [("authorization", "Bearer wrong")], [("authorization", "")]):
            refused = self.failures(lambda method: request_for(method), ["grpc_port"], metadata)
            wanted = {method.name for service, method in METHODS if SERVICES[service] == "grpc_port"} - open_calls
            self.assertEqual(set(refused), wanted)
            self.assertEqual(set(refused.values()), {("UNAUTHENTICATED", "INVALID_API_KEY")})

    def test_tiers_that_are_gone(self):
        self.stack = Stack(BINARIES)
        vision, language, _ = self.stack.processes
        for process, ports, calls in ((vision, ("grpc_port", "language_port"), {"Ask", "AskStream", "AnalyzeImage", "ModelInfer", "Generate"}),
                                      (language, ("grpc_port",), {"Ask", "AskStream", "PlanContext", "Tokenize", "Detokenize", "ModelInfer"})):
            process.kill()
            process.wait()
            failed = self.failures(lambda method: request_for(method, SAMPLE.read_bytes() + b"another"), ports)
            for name in calls:
                self.assertEqual(failed[name], ("UNAVAILABLE", "TIER_UNAVAILABLE"), name)
            self.assertIn("ModelStreamInfer", failed)

    def test_a_time_limit_that_passes(self):
        self.stack = Stack(BINARIES, ["--request_timeout=1ms"])
        failed = self.failures(lambda method: request_for(method, SAMPLE.read_bytes() + method.name.encode(), tokens=100), ["grpc_port"])
        for name in ("Ask", "AskStream", "ModelInfer"):
            self.assertEqual(failed[name], ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"), name)

    def test_a_server_that_is_full(self):
        self.stack = Stack(BINARIES, ["--max_inflight=1"])
        stream = POOL.FindServiceByName(GATEWAY).methods_by_name["AskStream"]
        over = threading.Event()

        def keep_asking():
            while not over.is_set():
                call(self.stack, GATEWAY, stream, request_for(stream, tokens=130))
        others = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in others:
            thread.start()
        try:
            for service, name in ((GATEWAY, "Ask"), (GATEWAY, "AskStream"), (GATEWAY, "AnalyzeImage"), (INFERENCE, "ModelInfer")):
                method = POOL.FindServiceByName(service).methods_by_name[name]
                outcomes = (call(self.stack, service, method, request_for(method, SAMPLE.read_bytes())) for _ in range(1000))
                refused = next(outcome for outcome in outcomes if outcome.code != "OK")
                self.assertEqual((refused.code, refused.details["reason"]), ("RESOURCE_EXHAUSTED", "QUEUE_FULL"), name)
                self.check(name, refused)
        finally:
            over.set()
            for thread in others:
                thread.join()


if __name__ == "__main__":
    unittest.main()
