"""What the Python client refuses, and what it makes of the server's refusals.

Usage: client_refusals_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE LIBRARIES; run by ctest with the oldest and the newest versions
of the libraries that the package allows, as `python_refusals_oldest_test` and `python_refusals_newest_test`.
"""
import asyncio
import concurrent.futures
import copy
import pickle
import threading
import unittest.mock

import client_stack
from client_stack import LONG, QUESTION, ClientTest

import diptych
import grpc
import numpy
from diptych.errors import to_error
from google.protobuf import any_pb2
from google.rpc import status_pb2
from http_stack import SAMPLE


class RefusalsTest(ClientTest):
    def test_wrong_options_are_named(self):
        with self.assertRaisesRegex(TypeError, "'max_tokens'"):
            self.client.ask(SAMPLE, max_tokens=3)
        with self.assertRaisesRegex(TypeError, "max_new_tokens"):
            self.client.ask(SAMPLE, max_new_tokens="3")
        with self.assertRaisesRegex(ValueError, "seed"):
            self.client.ask(SAMPLE, seed=-1)
        with self.assertRaisesRegex(TypeError, "'turns'"):
            self.client.ask(SAMPLE, turns=[])

    def test_refusals_say_why(self):
        with self.assertRaises(diptych.InvalidRequest) as raised:
            self.client.ask(b"no image", QUESTION)
        self.assertEqual((raised.exception.reason, raised.exception.code), ("IMAGE_FORMAT", "INVALID_ARGUMENT"))
        self.assertIsInstance(raised.exception, ValueError)
        with self.assertRaises(diptych.InvalidRequest) as raised:
            self.client.ask(SAMPLE, top_p=2.0, temperature=1)
        self.assertEqual(raised.exception.reason, "OPTION_RANGE")
        self.assertTrue(raised.exception.field.endswith("top_p"), raised.exception.field)
        self.assertIn("top_p", str(raised.exception))
        with self.assertRaises(diptych.InvalidRequest) as raised:
            self.client.ask(None, "word " * 500)
        self.assertEqual(raised.exception.reason, "CONTEXT_LENGTH_EXCEEDED")
        with self.assertRaises(diptych.NotFound) as raised:
            self.client.ask(SAMPLE, model="other")
        self.assertEqual(raised.exception.reason, "MODEL_UNKNOWN")
        with self.assertRaises(diptych.InvalidRequest) as raised:
            list(self.client.stream(b"no image"))
        self.assertEqual(raised.exception.reason, "IMAGE_FORMAT")

    def test_details_that_cannot_be_read_leave_the_error(self):
        damaged = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
        call = unittest.mock.Mock()
        call.code.return_value, call.details.return_value = grpc.StatusCode.INTERNAL, "broken"
        for details in (b"\xff", status_pb2.Status(details=[damaged]).SerializeToString()):
            call.trailing_metadata.return_value = [("grpc-status-details-bin", details)]
            self.assertEqual(str(to_error(call, "")), "INTERNAL: broken")

    def test_a_full_server_says_when_to_come_back(self):
        refused = []

        def ask():
            try:
                self.client.ask(SAMPLE, **LONG)
            except diptych.Overloaded as error:
                refused.append(error)

        while not refused:
            threads = [threading.Thread(target=ask) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(refused[0].reason, "QUEUE_FULL")
        self.assertGreater(refused[0].retry_after, 0)

    def test_a_deadline_ends_the_call(self):
        for timeout in (0.001, 0):
            with self.assertRaises(diptych.DeadlineExceeded) as raised:
                self.client.ask(SAMPLE, timeout=timeout, **LONG)
            self.assertIsInstance(raised.exception, TimeoutError)

    def test_a_timeout_is_any_number_of_seconds(self):
        for timeout in (numpy.float32(60), numpy.int64(60), 1e12, float("inf")):
            self.assertEqual(self.client.ask(SAMPLE, QUESTION, timeout=timeout).text, "red", timeout)
            with diptych.Client(self.address, timeout=timeout) as client:
                self.assertEqual(client.ask(SAMPLE, QUESTION).text, "red", timeout)
        for timeout, error in (("5", TypeError), (float("nan"), ValueError)):
            with self.assertRaisesRegex(error, "timeout takes a number of seconds"):
                self.client.ask(SAMPLE, QUESTION, timeout=timeout)
        with self.assertRaisesRegex(TypeError, "timeout takes a number of seconds"):
            diptych.Client(self.address, timeout="5")

    def test_what_is_no_text_is_named(self):
        chat = [{"role": "user", "content": "What color is the circle?"}]
        for history in (chat, "red", ["What color is the circle?", "red"], [("a", "b", "c")], [{"a", "b"}], None):
            with self.assertRaisesRegex(TypeError, r"history takes \(question, answer\) pairs"):
                self.client.ask(SAMPLE, QUESTION, history=history)
        for history in ([("And?", None)], [(1, "red")]):
            with self.assertRaisesRegex(TypeError, "of history takes text, not (NoneType|int)"):
                self.client.ask(SAMPLE, QUESTION, history=history)
        with self.assertRaisesRegex(TypeError, "question takes text, not list"):
            self.client.ask(SAMPLE, [QUESTION])
        with self.assertRaisesRegex(TypeError, "prompt takes text, not int"):
            self.client.ask(SAMPLE, prompt=5)

    def test_nobody_at_the_address(self):
        with diptych.Client("127.0.0.1:9") as client, self.assertRaises(diptych.Unreachable) as raised:
            client.ask(SAMPLE, QUESTION)
        self.assertIn("127.0.0.1:9", str(raised.exception))
        self.assertIsInstance(raised.exception, ConnectionError)
        with diptych.Client("127.0.0.1:9") as client, self.assertRaises(diptych.Unavailable):
            client.wait_until_ready(0.5)

    def test_an_http_port_is_told_as_one(self):
        address = f"127.0.0.1:{self.stack.port}"
        with diptych.Client(address) as client, self.assertRaisesRegex(diptych.Unreachable, f"{address} speaks HTTP, not gRPC"):
            client.ask(SAMPLE, QUESTION)

    def test_other_grpc_servers_are_told_from_the_gateway(self):
        foreign = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        self.addCleanup(foreign.stop, None)
        foreign_port = foreign.add_insecure_port("127.0.0.1:0")
        foreign.start()
        for port in (self.stack.vision_port, self.stack.language_port, foreign_port):
            with diptych.Client(f"127.0.0.1:{port}") as client, self.assertRaisesRegex(diptych.Unreachable, f"{port} is not a gateway"):
                client.ask(SAMPLE, QUESTION)

    def test_errors_and_answers_go_to_other_processes(self):
        with self.assertRaises(diptych.InvalidRequest) as raised:
            self.client.ask(b"no image")
        error, answer = raised.exception, self.client.ask(SAMPLE, QUESTION, logprobs=1)
        full = diptych.Overloaded("full", code="RESOURCE_EXHAUSTED", reason="QUEUE_FULL", retry_after=1.5)
        for known in (error, full):
            for same in (pickle.loads(pickle.dumps(known)), copy.copy(known)):
                self.assertIs(type(same), type(known))
                self.assertEqual((str(same), vars(same)), (str(known), vars(known)))
        self.assertEqual(pickle.loads(pickle.dumps(answer)), answer)

    def test_settings_that_cannot_be(self):
        web = ("http://127.0.0.1:7000", "HTTPS://diptych.example", "grpc://127.0.0.1:7000", "127.0.0.1:7000/v1")
        ports = ("127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:x", ":7000", "::1:7000", "a b:7000")
        for address in web + ports:
            with self.subTest(address), self.assertRaisesRegex(ValueError, "host:port"):
                diptych.Client(address)
        for address in ("localhost:7000", "[::1]:7000", "dns:///diptych.example:7000", "unix:/tmp/diptych"):
            diptych.Client(address).close()
        for name, wrong in {"target": {"target": 7000}, "api_key": {"api_key": b"key"}}.items():
            with self.assertRaisesRegex(TypeError, f"{name} takes text"):
                diptych.Client(**wrong)
        for wrong in ({"api_key": "a\nb"}, {"timeout": 0}, {"timeout": float("nan")}):
            with self.assertRaises(ValueError):
                diptych.Client(self.address, **wrong)

    def test_a_certificate_without_its_key_is_refused(self):
        for half in ({"cert": b"pem"}, {"key": b"pem"}):
            with self.assertRaisesRegex(ValueError, "cert and key .* are given together"):
                diptych.Client(self.address, tls=diptych.Tls(**half))
            with self.assertRaisesRegex(ValueError, "cert and key .* are given together"):
                asyncio.run(diptych.AsyncClient(self.address, tls=diptych.Tls(**half)).model())

    def test_a_client_that_is_closed_or_of_another_loop_says_so(self):
        client = diptych.Client(self.address)
        client.close()
        for call in (client.model, lambda: client.stream(SAMPLE, QUESTION)):
            with self.assertRaisesRegex(RuntimeError, "closed; make another"):
                call()
        shared = diptych.AsyncClient(self.address)
        asyncio.run(shared.model())
        with self.assertRaisesRegex(RuntimeError, "make one in each asyncio.run"):
            asyncio.run(shared.model())
        asyncio.run(shared.close())
        with self.assertRaisesRegex(RuntimeError, "closed; make another"):
            asyncio.run(shared.model())

    def test_what_is_no_pem_is_named(self):
        for ca in (b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            with self.assertRaisesRegex(ValueError, "^ca "):
                diptych.Client(self.address, tls=diptych.Tls(ca=ca))
        with self.assertRaisesRegex(ValueError, "^key "):
            diptych.Client(self.address, tls=diptych.Tls(key=b"nonsense", cert=b"nonsense"))

    def test_a_message_that_is_too_large_is_not_told_to_come_back(self):
        with self.assertRaisesRegex(diptych.InvalidRequest, "larger than a message may be") as raised:
            self.client.ask(b"\x89PNG" + bytes(200 << 20), QUESTION)
        self.assertIsNone(raised.exception.retry_after)

    def test_arguments_of_the_wrong_type_are_named(self):
        for name, call in {
            "logit_bias": lambda: self.client.ask(SAMPLE, QUESTION, logit_bias=[1]),
            "seed": lambda: self.client.ask(SAMPLE, QUESTION, seed={}),
            "images": lambda: self.client.plan(224),
            "images: height": lambda: self.client.plan(["224"]),
            "windows": lambda: self.client.plan(windows=5),
            "patch_size": lambda: self.client.plan(patch_size="14"),
        }.items():
            with self.subTest(name), self.assertRaisesRegex(TypeError, f"^{name}"):
                call()

    def test_addresses_that_are_not_fetched_are_told_from_paths(self):
        for address in ("", "data:image/png;base64,AAAA", "ftp://diptych.example/a.png", "file:///a.png"):
            with self.subTest(address), self.assertRaisesRegex(ValueError, "path or https address"):
                self.client.ask(address)
        with self.assertRaises(FileNotFoundError):
            self.client.ask("no:such.png")


if __name__ == "__main__":
    client_stack.main()
