"""EleutherAI's lm-evaluation-harness scores texts with this server as its own "local-completions" model.

Usage: lm_eval_test.py FOLDER_OF_BINARIES; run by ctest as `lm_eval_test`. Skipped where .deps/lm_eval is missing
(scripts/setup.sh --tests). What is expected is transformers' (tests/goldens/options).
"""
import json
import os
import sys
import unittest

from http_stack import DEMO, ROOT, StackCase

sys.path.insert(0, str(ROOT / ".deps" / "lm_eval"))
os.environ["OPENAI_API_KEY"] = "none"
try:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from tokenizers import Tokenizer
except ImportError as error:
    print(f"skipped: {error}; scripts/setup.sh --tests installs it")
    sys.exit(77)

SCORED = json.loads((ROOT / "tests" / "goldens" / "options" / "golden.json").read_text())["scored"]
BOS = 2


class Completions(LocalCompletionsAPI):
    """The harness's model with the checkpoint's tokenizer, for which it would need the whole of transformers."""

    def __init__(self, port, **options):
        super().__init__(base_url=f"http://127.0.0.1:{port}/v1/completions", model="demo", tokenizer_backend=None,
                         custom_prefix_token_id=BOS, max_length=160, max_retries=1, **options)
        self.tokenized_requests = True
        self.tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))

    def tok_encode(self, string, **_):
        return self.tokenizer.encode(string, add_special_tokens=False).ids

    @property
    def prefix_token_id(self):
        return BOS


class HarnessTest(StackCase):
    def score(self, pairs, **options):
        requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
        return Completions(self.stack.port, **options).loglikelihood(requests)

    def test_texts_are_as_likely_as_transformers_says(self):
        texts = [golden for golden in SCORED if "text" in golden]
        for options in ({"batch_size": 1}, {"batch_size": 3}):
            scores = self.score([("", golden["text"]) for golden in texts], **options)
            for (logprob, _), golden in zip(scores, texts):
                self.assertAlmostEqual(logprob, sum(golden["logprobs"]), delta=0.02)

    def test_a_continuation_is_scored_after_its_context(self):
        words = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
        for golden in SCORED:
            if "text" in golden:
                continue  # those without a beginning-of-sequence token are what the harness sends with a context
            cut = len(golden["ids"]) // 2
            context, continuation = words.decode(golden["ids"][:cut]), words.decode(golden["ids"][cut:])
            (logprob, _), = self.score([(context, continuation)])
            self.assertAlmostEqual(logprob, sum(golden["logprobs"][cut - 1:]), delta=0.02)

    def test_the_right_answer_of_several_is_the_likeliest(self):
        context = "Question: What color is the circle? Answer:"
        colors = [" red", " blue", " zebra", " of of of"]
        scores = self.score([(context, color) for color in colors], batch_size=4)
        self.assertGreater(max(scores[0][0], scores[1][0]), max(scores[2][0], scores[3][0]))
        self.assertFalse(scores[3][1], "it is not what the model would say")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
