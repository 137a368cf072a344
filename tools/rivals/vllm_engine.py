"""Answers questions with vLLM, all of a line at once: MODEL DTYPE; one JSON line in, "done" out. Runs in vLLM's own environment."""
import base64
import io
import json
import os
import sys

_PROMPT_TOKENS = 512  # of the window: enough for every question here, and what vLLM plans its memory by
_SEQUENCES = 16


def main() -> None:
    model, dtype = sys.argv[1:]
    # vLLM writes to the standard output too; the answers keep the real one.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from PIL import Image
    from vllm import LLM, SamplingParams
    engine = LLM(model, dtype=dtype, max_model_len=_PROMPT_TOKENS, max_num_seqs=_SEQUENCES, max_num_batched_tokens=2048,
                 limit_mm_per_prompt={"image": 1})

    def prompt(question):
        if question["image"] is None:
            return {"prompt": question["prompt"]}
        image = Image.open(io.BytesIO(base64.b64decode(question["image"]))).convert("RGB")
        return {"prompt": question["prompt"], "multi_modal_data": {"image": image}}

    print("done", file=answers)
    for line in sys.stdin:
        message = json.loads(line)
        prompts, tokens = [prompt(question) for question in message["questions"]], message["tokens"]
        engine.generate(prompts, SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True), use_tqdm=False)
        print("done", file=answers)


if __name__ == "__main__":
    main()
