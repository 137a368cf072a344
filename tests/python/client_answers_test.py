"""What the Python client gives.

Usage: client_answers_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE LIBRARIES; run by ctest with the oldest and the newest versions
of the libraries that the package allows, as `python_answers_oldest_test` and `python_answers_newest_test`.
"""
import doctest
import importlib
import io
import os
import pkgutil

import client_stack
from client_stack import LONG, QUESTION, ClientTest

import diptych
import numpy
from http_stack import SAMPLE


class AnswersTest(ClientTest):
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


if __name__ == "__main__":
    client_stack.main()
