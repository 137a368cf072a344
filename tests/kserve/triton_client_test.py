"""Triton's own Python client as the judge of the Open Inference Protocol. Skipped where it is not installed."""
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import sys
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".deps" / "triton"))
sys.path.insert(0, str(ROOT / "tests" / "http"))
try:
    import grpc
    import numpy
    import tritonclient.grpc as triton
except ImportError as error:
    print(f"skipped: tritonclient is not installed ({error}); scripts/setup.sh --tests fetches it")
    sys.exit(77)

from http_stack import SAMPLE, KeyedStack, Stack  # noqa: E402

QUESTION = "Question: What color is the circle? Answer:"
BINARIES = pathlib.Path(sys.argv.pop(1))


def tensor(name, values, datatype="BYTES"):
    array = numpy.array(values, dtype={"BOOL": bool, "BYTES": object, "INT32": numpy.int32}[datatype])
    result = triton.InferInput(name, list(array.shape), datatype)
    result.set_data_from_numpy(array)
    return result


def inputs(**options):
    given = [tensor("image", [SAMPLE.read_bytes()]), tensor("prompt", [QUESTION.encode()])]
    return given + [tensor(name, [value], "INT32") for name, value in options.items()]


class TritonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = KeyedStack(BINARIES)
        cls.client = triton.InferenceServerClient(f"127.0.0.1:{cls.stack.grpc_port}")
        cls.headers = {"authorization": "Bearer alice"}

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stack.stop()

    def test_reflection_describes_and_health_knows_every_service_of_the_program(self):
        """As `grpcurl describe` walks them; in a test that links all descriptors none can be missing."""
        def call(method, request, kind="unary_unary"):
            with grpc.insecure_channel(f"127.0.0.1:{self.stack.grpc_port}") as channel:
                reply = getattr(channel, kind)(method)(iter([request]) if kind == "stream_stream" else request, timeout=60)
                return reply if isinstance(reply, bytes) else b"".join(reply)
        for version in ("v1", "v1alpha"):
            reflect = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            listed = call(reflect, b"\x3a\1*", "stream_stream")
            services = re.findall(rb"[a-z][a-z0-9.]*\.[A-Z]\w+", listed)
            self.assertEqual(len(services), 5, listed)
            for service in services:
                described = call(reflect, b"\x22" + bytes([len(service)]) + service, "stream_stream")
                self.assertNotIn(b"not found", described, service)
        for service in (b"", b"diptych.v1.GatewayService", b"inference.GRPCInferenceService"):
            self.assertEqual(call("/grpc.health.v1.Health/Check", b"\n" + bytes([len(service)]) + service), b"\x08\1", service)

    def test_says_that_it_is_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("demo"))
        self.assertFalse(self.client.is_model_ready("other"))
        metadata = self.client.get_model_metadata("demo", headers=self.headers)
        self.assertIn("text_output", [output.name for output in metadata.outputs])

    def test_answers_about_an_image(self):
        result = self.client.infer("demo", inputs(max_tokens=10), request_id="one", headers=self.headers)
        self.assertEqual(result.as_numpy("text_output")[0].decode(), "red")
        self.assertGreater(json.loads(result.as_numpy("timings")[0])["total"], 0)
        self.assertGreater(result.as_numpy("prompt_tokens")[0], 16)
        self.assertEqual(result.get_response().id, "one")

    def streamed_text(self, answers):
        """Of one answer, to its end."""
        text = ""
        while True:
            result, error = answers.get(timeout=60)
            self.assertIsNone(error)
            text += result.as_numpy("text_output")[0].decode()
            if result.get_response().parameters["triton_final_response"].bool_param:
                return text

    def test_streams(self):
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)), headers=self.headers)
        self.client.async_stream_infer("demo", inputs())
        self.client.async_stream_infer("demo", [tensor("nothing", [b"x"])])
        self.assertEqual(self.streamed_text(answers).strip(), "red")
        self.assertIn("is not known", str(answers.get(timeout=60)[1]))
        self.client.stop_stream()

    def test_the_prompt_comes_first_with_the_space_behind_it(self):
        given = inputs() + [tensor("exclude_input_in_output", [False], "BOOL")]
        whole = self.client.infer("demo", given, headers=self.headers).as_numpy("text_output")[0].decode()
        self.assertEqual(whole, f"{QUESTION} red")
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)), headers=self.headers)
        self.client.async_stream_infer("demo", given)
        self.assertEqual(self.streamed_text(answers), whole)
        self.client.stop_stream()

    def running(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stack.port}/metrics", timeout=60) as page:
            return float(re.search(rb"^diptych_requests_running (\S+)", page.read(), re.M)[1])

    def test_a_cancelled_stream_gives_its_place_back(self):
        answers = queue.Queue()
        long = tensor("sampling_parameters", [json.dumps({"max_tokens": 100, "ignore_eos": True}).encode()])
        self.client.start_stream(lambda result, error: answers.put((result, error)), headers=self.headers)
        self.client.async_stream_infer("demo", [*inputs(), long])
        self.assertIsNone(answers.get(timeout=60)[1])
        self.client.stop_stream(cancel_requests=True)
        while self.running() > 0:
            time.sleep(0.01)
        self.assertEqual(self.client.infer("demo", inputs(), headers=self.headers).as_numpy("text_output")[0].decode(), "red")

    def test_options_as_clients_of_tritons_vllm_write_them(self):
        sampling = json.dumps({"max_tokens": "3", "temperature": "0", "ignore_eos": "true"}).encode()
        result = self.client.infer("demo", inputs() + [tensor("sampling_parameters", [sampling])], headers=self.headers)
        self.assertEqual(len(result.as_numpy("token_ids")), 3)

    def test_errors_name_the_input(self):
        for given, words in ((tensor("image", [[1, 2]], "INT32"), "image takes BYTES"), (tensor("prompt", [b"a", b"b"]), "prompt takes one element"),
                             (tensor("nothing", [5], "INT32"), "nothing is not known"), (tensor("max_tokens", [b"x"]), "max_tokens takes a value of type int32"),
                             (tensor("max_tokens", [1, 2], "INT32"), "max_tokens takes one value"), (tensor("temperature", [-1], "INT32"), "temperature takes 0 to 100, not -1"),
                             (tensor("sampling_parameters", [b"{"]), "sampling_parameters is not JSON"), (tensor("sampling_parameters", [b'{"top_p": "hot"}']), "top_p takes")):
            with self.subTest(words), self.assertRaisesRegex(triton.InferenceServerException, words):
                beside = [] if given.name() == "prompt" else [tensor("prompt", [b"a"])]
                self.client.infer("demo", beside + [given], headers=self.headers)
        for name, version in (("other", ""), ("demo", "7")):
            with self.assertRaisesRegex(triton.InferenceServerException, "demo|version 1"):
                self.client.get_model_metadata(name, version, headers=self.headers)

    def test_errors_of_the_gateway_have_the_names_that_were_given(self):
        for given, words in ((tensor("max_tokens", [0], "INT32"), "max_tokens takes 1 or more"), (tensor("beam_width", [99], "INT32"), "beam_width takes 1 to 8"),
                             (tensor("sampling_parameters", [b'{"min_tokens": 5, "max_tokens": 3}']), "min_tokens takes at most max_tokens")):
            with self.subTest(words), self.assertRaisesRegex(triton.InferenceServerException, r"\] " + words):
                self.client.infer("demo", [tensor("text_input", [b"a"]), given], headers=self.headers)

    def test_what_is_not_served_is_named(self):
        for ask, method in ((lambda: self.client.get_model_config("demo", headers=self.headers), "ModelConfig"),
                            (lambda: self.client.get_inference_statistics("demo", headers=self.headers), "ModelStatistics"),
                            (lambda: self.client.get_model_repository_index(headers=self.headers), "RepositoryIndex")):
            with self.subTest(method), self.assertRaisesRegex(triton.InferenceServerException, f"UNIMPLEMENTED.*{method}"):
                ask()

    def test_errors_say_why(self):
        with self.assertRaisesRegex(triton.InferenceServerException, "API key"):
            self.client.infer("demo", inputs())
        with self.assertRaisesRegex(triton.InferenceServerException, "model"):
            self.client.infer("other", inputs(), headers=self.headers)
        with self.assertRaisesRegex(triton.InferenceServerException, "image"):
            self.client.infer("demo", [tensor("image", [b"no image"])], headers=self.headers)
        broken = SAMPLE.read_bytes()[:-400]
        for name, image in (("image", b"no image"), ("image_bytes", b"no image"), ("images", broken)):
            with self.subTest(name), self.assertRaisesRegex(triton.InferenceServerException, rf"{name}\[1\]: "):
                self.client.infer("demo", [tensor(name, [SAMPLE.read_bytes(), image])], headers=self.headers)


class LimitsTest(unittest.TestCase):
    """A limit of N takes N callers, each of which asks again as soon as it is answered."""
    CALLERS, REQUESTS = 4, 20

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, [f"--max_inflight={cls.CALLERS}"])

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def infer(self, client):
        for _ in range(self.REQUESTS):
            client.infer("demo", inputs(max_tokens=4))

    def stream(self, client):
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for _ in range(self.REQUESTS):
            client.async_stream_infer("demo", inputs(max_tokens=4))
            TritonClientTest.streamed_text(self, answers)
        client.stop_stream()

    def test_each_caller_is_answered_again_and_again(self):
        for ask in (self.infer, self.stream):
            clients = [triton.InferenceServerClient(f"127.0.0.1:{self.stack.grpc_port}") for _ in range(self.CALLERS)]
            with concurrent.futures.ThreadPoolExecutor(self.CALLERS) as callers:
                list(callers.map(ask, clients))  # raises what a caller was told
            for client in clients:
                client.close()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    unittest.main()
