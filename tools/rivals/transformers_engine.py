"""Answers questions with transformers: MODEL float32|bfloat16; one JSON line in, "done" out."""
import base64
import io
import json
import os
import sys

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor


def main() -> None:
    torch.set_grad_enabled(False)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, dtype = sys.argv[1], getattr(torch, sys.argv[2])
    network = Blip2ForConditionalGeneration.from_pretrained(model, dtype=dtype).eval()
    processor = Blip2Processor.from_pretrained(model)
    print("done", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        question, tokens = message["questions"][0], message["tokens"]
        lengths = dict(do_sample=False, num_beams=1, min_new_tokens=tokens, max_new_tokens=tokens)
        if question["image"] is None:
            network.language_model.generate(**processor.tokenizer(question["prompt"], return_tensors="pt"), **lengths)
        else:
            image = Image.open(io.BytesIO(base64.b64decode(question["image"]))).convert("RGB")
            network.generate(**processor(images=image, text=question["prompt"], return_tensors="pt").to(dtype=dtype), **lengths)
        print("done", flush=True)


if __name__ == "__main__":
    main()
