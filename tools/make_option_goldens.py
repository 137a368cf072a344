#!/usr/bin/env python3
"""Makes tests/goldens/options/golden.json: answers of the demo model's decoder under options of generation.

    .deps/python/bin/python tools/make_option_goldens.py

transformers' generate() with the processors that it has; the penalties of OpenAI's API, which it lacks, as processors
of their own. Text alone, in float32. Also what transformers' warpers make of one row of scores, and how likely the
tokens of some texts are. Options have the names of GenerationOptions in proto/diptych/v1/inference.proto.
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import AutoTokenizer, Blip2ForConditionalGeneration, LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import (MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper,
                                                    TopPLogitsWarper)

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tests" / "goldens" / "options" / "golden.json"
QUESTION = "Question: What color is the circle? Answer:"
LONG = "a red circle beside a"
MARGIN = 1e-3  # of the best score before the next one, so that rounding can't change an answer


class RepeatedTokens(LogitsProcessor):
    """OpenAI's presence and frequency penalty, over what follows the prompt."""

    def __init__(self, prompt_tokens, presence, frequency):
        self.prompt_tokens, self.presence, self.frequency = prompt_tokens, presence, frequency

    def __call__(self, input_ids, scores):
        counts = torch.zeros_like(scores)
        generated = input_ids[:, self.prompt_tokens:]
        counts.scatter_add_(1, generated, torch.ones_like(generated, dtype=scores.dtype))
        return scores - self.presence * (counts > 0) - self.frequency * counts


def generate(model, tokenizer, text, options):
    """The ids of the answer, and how far the closest choice was."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    eos = [] if options.get("ignore_eos") else [model.config.text_config.eos_token_id]
    eos += options.get("stop_token_ids", [])
    settings = dict(max_new_tokens=options["max_new_tokens"], do_sample=False, pad_token_id=1,
                    num_beams=options.get("num_beams", 1), length_penalty=options.get("length_penalty", 1.0),
                    repetition_penalty=options.get("repetition_penalty", 1.0), early_stopping=False)
    if options.get("min_new_tokens"):
        settings["min_new_tokens"] = options["min_new_tokens"]
    if options.get("logit_bias"):
        settings["sequence_bias"] = [[[int(token)], float(bias)] for token, bias in options["logit_bias"].items()]
    language = model.language_model
    language.generation_config.eos_token_id = eos or None
    own = RepeatedTokens(ids.shape[1], options.get("presence_penalty", 0.0), options.get("frequency_penalty", 0.0))
    out = language.generate(input_ids=ids, attention_mask=torch.ones_like(ids), logits_processor=LogitsProcessorList([own]),
                            return_dict_in_generate=True, output_scores=True, **settings)
    margin = min((step[0].topk(2).values.diff().abs().item() for step in out.scores), default=1.0)
    answer = out.sequences[0, ids.shape[1]:].tolist()
    while eos and answer and answer[-1] == 1 and 1 not in eos:
        answer.pop()  # what fills up a beam that ended early
    return answer, margin


def cases(tokenizer):
    red, blue = (tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in ("red", "blue"))
    bias = {str(red): -100.0, str(blue): 2.5, "4": -1.0}
    long = {"min_new_tokens": 12}
    lone = [{**long, "presence_penalty": 1.5}, {**long, "frequency_penalty": 0.7}, long,
            {**long, "presence_penalty": -2.0, "frequency_penalty": -0.5}, {**long, "repetition_penalty": 1.7},
            {**long, "presence_penalty": 2.0, "frequency_penalty": 2.0}, {**long, "logit_bias": bias},
            {**long, "logit_bias": bias, "repetition_penalty": 1.3, "presence_penalty": 0.4, "frequency_penalty": 0.3},
            {"ignore_eos": True}, {"ignore_eos": True, "frequency_penalty": 1.0}, {"stop_token_ids": [351, 410]},
            {**long, "stop_token_ids": [351, 410]}, {"ignore_eos": True, "stop_token_ids": [356]}]
    for text in (QUESTION, LONG):
        for options in lone:
            for beams in (1, 3):
                yield text, {"max_new_tokens": 16, **options, **({"num_beams": beams} if beams > 1 else {})}


def distributions():
    scores = torch.tensor([[0.5, -1.25, 2.0, 1.0, 1.9, 0.25, -0.5, 1.1, 3.0, -2.0, 1.5, 0.0]])
    for options in ({"min_p": 0.2}, {"min_p": 0.05, "temperature": 2.0}, {"min_p": 0.3, "top_p": 0.8},
                    {"min_p": 0.1, "top_k": 3}, {"min_p": 1.0}, {"min_p": 0.4, "temperature": 0.5, "top_k": 6, "top_p": 0.95}):
        row = TemperatureLogitsWarper(options.get("temperature", 1.0))(None, scores)
        if options.get("top_k"):
            row = TopKLogitsWarper(options["top_k"])(None, row)
        if options.get("top_p", 1) < 1:
            row = TopPLogitsWarper(options["top_p"])(None, row)
        row = MinPLogitsWarper(options["min_p"])(None, row)
        yield {"options": options, "scores": scores[0].tolist(), "probabilities": row.softmax(1)[0].tolist()}


def score(model, ids):
    """Natural log-probabilities of all tokens but the first."""
    ids = torch.tensor([ids])
    with torch.inference_mode():
        logprobs = model.language_model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.log_softmax(-1)
    return logprobs[0, :-1].gather(1, ids[0, 1:, None])[:, 0].tolist()


def main():
    folder = ROOT / "models" / "demo"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    answers = []
    for text, options in cases(tokenizer):
        token_ids, margin = generate(model, tokenizer, text, options)
        if margin < MARGIN and "num_beams" not in options:
            print(f"left out, {margin:.1e} from another answer: {text!r} {options}")
            continue
        answers.append({"text": text, "options": options, "token_ids": token_ids})
    texts = [QUESTION, LONG, "Question: Which shape is red? Answer: circle. Question: Why? Answer: it is round."]
    scored = []
    for text in texts:
        ids = tokenizer(text).input_ids
        scored.append({"text": text, "ids": ids, "logprobs": score(model, ids)})
        scored.append({"ids": ids[1:], "logprobs": score(model, ids[1:])})  # without the beginning of the sequence
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"transformers": transformers.__version__, "answers": answers,
                               "distributions": list(distributions()), "scored": scored}, indent=1) + "\n")


if __name__ == "__main__":
    main()
