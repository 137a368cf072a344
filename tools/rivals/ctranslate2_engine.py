"""Answers questions without images with CTranslate2, all of a line at once: MODEL WEIGHTS DTYPE; one JSON line in, "done" out."""
import json
import os
import sys
import tempfile
from pathlib import Path

import ctranslate2
from ctranslate2.converters import transformers as converters
from transformers import AutoTokenizer, Blip2ForConditionalGeneration


def _vocabulary(_loader, model, tokenizer) -> list[str]:
    """A name for each row of the embeddings, of which BLIP-2's OPT has more than its tokenizer knows."""
    names = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    return names + [f"filler{i}" for i in range(model.config.vocab_size - len(names))]


def _convert(model: str, weights: Path, dtype: str) -> None:
    """Writes the language model of a checkpoint in CTranslate2's form."""
    converters.OPTLoader.get_vocabulary = _vocabulary
    weights.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=weights.parent) as folder:
        network = Blip2ForConditionalGeneration.from_pretrained(model, dtype="float16")
        network.language_model.save_pretrained(folder)
        del network
        AutoTokenizer.from_pretrained(model).save_pretrained(folder)
        converters.TransformersConverter(folder, low_cpu_mem_usage=True).convert(str(weights), quantization=dtype)


def main() -> None:
    model, weights, dtype = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if not weights.exists():
        _convert(model, weights, dtype)
    tokenizer = AutoTokenizer.from_pretrained(model)
    engine = ctranslate2.Generator(str(weights), compute_type=dtype, inter_threads=1, intra_threads=len(os.sched_getaffinity(0)))
    print("done", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        prompts = [tokenizer.convert_ids_to_tokens(tokenizer(question["prompt"]).input_ids) for question in message["questions"]]
        tokens = message["tokens"]
        for answer in engine.generate_batch(prompts, min_length=tokens, max_length=tokens, sampling_topk=1, include_prompt_in_result=False,
                                            end_token="</s>", max_batch_size=0):
            assert len(answer.sequences_ids[0]) == tokens
        print("done", flush=True)


if __name__ == "__main__":
    main()
