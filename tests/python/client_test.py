"""The Python client against the demo model.

Usage: client_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE LIBRARIES; run by ctest with the oldest and the newest versions
of the libraries that the package allows, as `python_client_oldest_test` and `python_client_newest_test`.
"""
import asyncio
import copy
import doctest
import importlib
import io
import os
import pathlib
import pickle
import pkgutil
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock

import client_environment

BINARIES, PACKAGE, LIBRARIES = sys.argv[1:4]
del sys.argv[1:4]
client_environment.enter(PACKAGE, LIBRARIES)

import diptych  # noqa: E402
import grpc  # noqa: E402
import numpy  # noqa: E402
from google.protobuf import __version__ as protobuf_version  # noqa: E402
from http_stack import SAMPLE, Stack, key_file  # noqa: E402

QUESTION = "What color is the circle?"
LONG = {"max_new_tokens": 60, "min_new_tokens": 60}


class AskTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_inflight=2"])
        cls.address = f"127.0.0.1:{cls.stack.grpc_port}"
        cls.client = diptych.Client(cls.address)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stack.stop()

    def test_answers_with_tokens_timings_and_budget(self):
        answer = self.client.ask(SAMPLE, QUESTION)
        self.assertEqual((str(answer), answer.finish_reason, answer.model), ("red", diptych.FinishReason.STOP, "demo"))
        self.assertEqual(len(answer.token_ids), answer.usage.completion_tokens)
        self.assertEqual(len(answer.prompt_token_ids), answer.usage.prompt_tokens)
        budget = answer.context_budget
        self.assertEqual((budget.window, budget.image_tokens, budget.dense_patch_tokens), (160, 16, 64))
        self.assertEqual(budget.image_tokens + budget.text_tokens + budget.generated + budget.remaining, budget.window)
        self.assertGreater(answer.timings.total, 0)
        self.assertAlmostEqual(sum(answer.timings.stages().values()), answer.timings.total, places=6)

    def test_takes_images_in_every_form(self):
        class Pillow:
            def save(self, fp, format):
                assert format == "PNG"
                fp.write(SAMPLE.read_bytes())

        class Cmyk:
            def save(self, fp, format):
                fp.write(b"half")
                raise OSError("cannot write mode CMYK as PNG")

            def convert(self, mode):
                assert mode == "RGB"
                return Pillow()

        data = SAMPLE.read_bytes()
        for image in (SAMPLE, str(SAMPLE), data, bytearray(data), memoryview(data), io.BytesIO(data), Pillow(), Cmyk(),
                      [SAMPLE], (SAMPLE,), [bytearray(data)]):
            self.assertEqual(self.client.ask(image, QUESTION).text, "red")
        with SAMPLE.open("rb") as file:
            self.assertEqual(self.client.ask(file, QUESTION).text, "red")
        self.assertEqual(self.client.ask([SAMPLE, SAMPLE]).context_budget.image_tokens, 32)
        self.assertEqual(self.client.ask(None, "What is red?").context_budget.image_tokens, 0)
        with self.assertRaisesRegex(TypeError, "int"):
            self.client.ask(3, QUESTION)
        with self.assertRaisesRegex(TypeError, "open\\(path, 'rb'\\)"):
            self.client.ask(io.StringIO("text"), QUESTION)
        with self.assertRaisesRegex(TypeError, "not ndarray; PIL.Image.fromarray"):
            self.client.ask(numpy.zeros((8, 8, 3), numpy.uint8), QUESTION)
        with self.assertRaises(FileNotFoundError):
            self.client.ask("no such file.png", QUESTION)
        with self.assertRaises(IsADirectoryError):
            self.client.ask(SAMPLE.parent, QUESTION)
        with self.assertRaises(diptych.DiptychError):  # an address, however its scheme is written; this server fetches none
            self.client.ask("HTTPS://diptych.example/a.png", QUESTION)

    def test_question_prompt_history_and_caption_are_different_prompts(self):
        asked = self.client.ask(SAMPLE, QUESTION)
        literal = self.client.ask(SAMPLE, prompt=f"Question: {QUESTION} Answer:")
        self.assertEqual(asked.prompt_token_ids, literal.prompt_token_ids)
        self.assertNotEqual(self.client.ask(SAMPLE, prompt=QUESTION).prompt_token_ids, literal.prompt_token_ids)
        after = self.client.ask(SAMPLE, "How many shapes are there?", history=[(QUESTION, "red")])
        self.assertGreater(after.context_budget.history_tokens, 0)
        self.assertIn("circle", self.client.ask(SAMPLE).text)
        with self.assertRaisesRegex(TypeError, "not both"):
            self.client.ask(SAMPLE, QUESTION, prompt="x")
        with self.assertRaisesRegex(TypeError, "not both"):
            self.client.ask(SAMPLE, history=[(QUESTION, "red")], prompt="x")

    def test_options_reach_the_server(self):
        cut = self.client.ask(SAMPLE, max_new_tokens=2)
        self.assertEqual((cut.finish_reason.name, cut.usage.completion_tokens), ("LENGTH", 2))
        self.assertEqual(self.client.ask(SAMPLE, stop="circle").finish_reason.name, "STOP_STRING")
        scored = self.client.ask(SAMPLE, QUESTION, logprobs=3)
        self.assertEqual([len(step.top) for step in scored.logprobs], [3] * len(scored.token_ids))
        self.assertEqual(scored.logprobs[0].chosen.token_id, scored.token_ids[0])
        seen = self.client.ask(SAMPLE, QUESTION, return_relevance=True, request_id="mine", image_size=224)
        self.assertEqual((seen.request_id, seen.relevance[0].images[0].shape), ("mine", (16, 16)))
        self.assertEqual(self.client.ask(SAMPLE, QUESTION, max_new_tokens=None).text, "red")
        red = scored.token_ids[0]
        self.assertNotEqual(self.client.ask(SAMPLE, QUESTION, logit_bias={red: -100}).token_ids[0], red)
        self.assertEqual(self.client.ask(SAMPLE, QUESTION, stop_token_ids=[red]).token_ids, (red,))
        ids = scored.prompt_token_ids[scored.context_budget.image_tokens:]
        self.assertEqual(self.client.ask(SAMPLE, prompt_token_ids=ids).text, "red")
        read = self.client.ask(SAMPLE, QUESTION, prompt_logprobs=0)
        self.assertEqual(len(read.prompt_logprobs), read.context_budget.text_tokens)

    def test_wrong_options_are_named(self):
        with self.assertRaisesRegex(TypeError, "'max_tokens'"):
            self.client.ask(SAMPLE, max_tokens=3)
        with self.assertRaisesRegex(TypeError, "max_new_tokens"):
            self.client.ask(SAMPLE, max_new_tokens="3")
        with self.assertRaisesRegex(ValueError, "seed"):
            self.client.ask(SAMPLE, seed=-1)
        with self.assertRaisesRegex(TypeError, "'turns'"):
            self.client.ask(SAMPLE, turns=[])

    def test_streams(self):
        with self.client.stream(SAMPLE) as stream:
            self.assertEqual((stream.started.model, stream.started.context_budget.generated), ("demo", 0))
            pieces = list(stream)
        self.assertEqual("".join(map(str, pieces)), stream.answer.text)
        self.assertEqual(sum((piece.token_ids for piece in pieces), ()), stream.answer.token_ids)
        late = self.client.stream(SAMPLE)
        whole = late.answer.text
        self.assertEqual("".join(piece.text for piece in late), whole)

    def test_a_cancelled_stream_ends(self):
        stream = self.client.stream(SAMPLE, **LONG)
        next(stream)
        stream.cancel()
        with self.assertRaises(diptych.Cancelled) as raised:
            stream.answer
        self.assertEqual(raised.exception.code, "CANCELLED")

    def test_analyzes(self):
        analysis = self.client.analyze(SAMPLE, prepared_image=True)
        self.assertEqual((analysis.pixel_shape, analysis.feature_shape), ((1, 3, 112, 112), (1, 65, 128)))
        self.assertEqual((analysis.image_size.height, len(analysis.query_attention)), (224, 16))
        patches = analysis.cls_attention.patches
        self.assertEqual((patches.shape, patches.dtype), ((8, 8), numpy.float32))
        self.assertAlmostEqual(float(patches.sum()) + analysis.cls_attention.class_token, 1, places=4)
        mean = numpy.mean([one.patches for one in analysis.query_attention], axis=0)
        numpy.testing.assert_allclose(analysis.mean_query_attention.patches, mean, atol=1e-5)
        self.assertTrue(analysis.prepared_image.startswith(b"\x89PNG"))
        bare = self.client.analyze(SAMPLE, attention=False)
        self.assertEqual((bare.cls_attention, bare.query_attention, bare.prepared_image), (None, (), b""))

    def test_plans(self):
        plan = self.client.plan([diptych.ImageSize(336, 224)], QUESTION, patch_size=14, windows=[2048, 4096])
        self.assertEqual((plan.patch_tokens, [window.budget.window for window in plan.windows]), ((384,), [2048, 4096]))
        self.assertEqual(plan.text_tokens, self.client.ask(SAMPLE, QUESTION).context_budget.text_tokens)

    def test_says_what_is_served(self):
        served = self.client.wait_until_ready(10)
        self.assertEqual((served.model.name, [tier.serving for tier in served.tiers]), ("demo", [True, True]))
        self.assertEqual({part.name for part in served.model.parts}, {"vision", "qformer", "projection", "language"})
        self.assertEqual(served.limits.max_inflight, 2)

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

    def test_the_async_client_does_the_same(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                await client.wait_until_ready(10)
                answer = await client.ask(SAMPLE, QUESTION)
                async with client.stream(SAMPLE) as stream:
                    started = await stream.started()
                    text = "".join([piece.text async for piece in stream])
                    whole = await stream.answer()
                analysis = await client.analyze(SAMPLE)
                plan = await client.plan([224], patch_size=14)
                with self.assertRaises(diptych.InvalidRequest) as raised:
                    await client.ask(b"no image")
                with self.assertRaises(diptych.InvalidRequest) as streamed:
                    await client.stream(b"no image").answer()
                with self.assertRaises(diptych.DeadlineExceeded):
                    await client.ask(SAMPLE, timeout=0.001, **LONG)
            return (answer.text, started.model, text == whole.text, analysis.visual_tokens, plan.patch_tokens,
                    raised.exception.reason, streamed.exception.reason)

        self.assertEqual(asyncio.run(ask()), ("red", "demo", True, 65, (256,), "IMAGE_FORMAT", "IMAGE_FORMAT"))

    def test_a_cancelled_async_stream_ends_but_its_task_goes_on(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                stream = client.stream(SAMPLE, **LONG)
                await stream.started()
                stream.cancel()
                with self.assertRaises(diptych.Cancelled):
                    await stream.answer()
                return (await client.ask(SAMPLE, QUESTION)).text

        self.assertEqual(asyncio.run(ask()), "red")

    def test_cancelling_a_task_cancels_the_request(self):
        async def ask():
            async with diptych.AsyncClient(self.address) as client:
                task = asyncio.ensure_future(client.ask(SAMPLE, **LONG))
                await asyncio.sleep(0)
                task.cancel()
                await task

        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(ask())

    def test_the_examples_in_docstrings_hold(self):
        os.environ["DIPTYCH_SERVER"] = self.address
        before = os.getcwd()
        os.chdir(SAMPLE.parent)
        try:
            tried = 0
            for module in pkgutil.walk_packages(diptych.__path__, "diptych."):
                if not module.name.startswith("diptych.v1"):
                    result = doctest.testmod(importlib.import_module(module.name))
                    self.assertEqual(result.failed, 0, module.name)
                    tried += result.attempted
            result = doctest.testmod(diptych)
            self.assertEqual(result.failed, 0)
            self.assertGreater(tried + result.attempted, 15)
        finally:
            os.chdir(before)
            del os.environ["DIPTYCH_SERVER"]


class SecretsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
             "-subj", "/CN=diptych", "-addext", "subjectAltName=DNS:diptych.test,IP:127.0.0.1"], cwd=cls.path, capture_output=True)
        if made.returncode != 0:
            cls.folder.cleanup()
            raise unittest.SkipTest("the openssl command is missing")
        key_file(cls.path / "keys.json", alice={}, spender={"tokens_per_minute": 1})
        cls.stack = Stack(BINARIES, [f"--api_keys_file={cls.path / 'keys.json'}", f"--tls_cert={cls.path / 'cert.pem'}",
                                     f"--tls_key={cls.path / 'key.pem'}", f"--tls_client_ca={cls.path / 'cert.pem'}"])
        cls.tls = diptych.Tls(ca=cls.path / "cert.pem", cert=cls.path / "cert.pem", key=(cls.path / "key.pem").read_bytes(),
                              server_name="diptych.test")

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()
        cls.folder.cleanup()

    def client(self, **settings):
        client = diptych.Client(f"127.0.0.1:{self.stack.grpc_port}", **{"tls": self.tls, **settings})
        self.addCleanup(client.close)
        return client

    def test_a_certificate_and_a_key_open_the_server(self):
        self.assertEqual(self.client(api_key="alice").ask(SAMPLE, QUESTION).text, "red")
        os.environ["DIPTYCH_API_KEY"] = "alice"
        try:
            self.assertEqual(self.client().ask(SAMPLE, QUESTION).text, "red")
        finally:
            del os.environ["DIPTYCH_API_KEY"]

    def test_a_certificate_may_come_from_the_environment(self):
        files = {"DIPTYCH_TLS_CA": "cert.pem", "DIPTYCH_TLS_CERT": "cert.pem", "DIPTYCH_TLS_KEY": "key.pem"}
        with unittest.mock.patch.dict(os.environ, {name: str(self.path / file) for name, file in files.items()}):
            self.assertEqual(self.client(tls=None, api_key="alice").ask(SAMPLE, QUESTION).text, "red")

    def test_without_a_key_nothing_is_answered(self):
        for key in (None, "mallory"):
            with self.assertRaises(diptych.Unauthenticated) as raised:
                self.client(api_key=key).ask(SAMPLE, QUESTION)
            self.assertEqual(raised.exception.reason, "INVALID_API_KEY")
            self.assertNotIn("mallory", str(raised.exception))

    def test_without_the_right_certificate_nothing_is_sent(self):
        for tls in (False, True, diptych.Tls(ca=self.path / "cert.pem", server_name="diptych.test"), self.path / "cert.pem"):
            with self.assertRaises(diptych.Unreachable):
                self.client(tls=tls, api_key="alice").ask(SAMPLE, QUESTION)

    def test_over_its_limit_a_key_is_told_when_to_come_back(self):
        client = self.client(api_key="spender")
        client.ask(SAMPLE, QUESTION)
        with self.assertRaises(diptych.Overloaded) as raised:
            client.ask(SAMPLE, QUESTION)
        self.assertEqual(raised.exception.reason, "RATE_LIMITED")
        self.assertGreater(raised.exception.retry_after, 0)

    def test_secrets_are_not_shown(self):
        from diptych.connection import Connection
        shown = repr(Connection.of("x:1", "alice", self.tls, 1.0))
        self.assertNotIn("alice", shown)
        self.assertNotIn("PRIVATE", shown)


if __name__ == "__main__":
    print(f"grpcio {grpc.__version__}, protobuf {protobuf_version}, numpy {numpy.__version__}", flush=True)
    unittest.main()
