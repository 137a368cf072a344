"""Greedy answers of a checkpoint through transformers' Blip2Processor and `generate`."""
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from held_out import HeldOutSet

MAX_NEW_TOKENS = 72
BATCH = 200


class Answerer:
    """A checkpoint loaded in one dtype."""

    def __init__(self, checkpoint: Path, dtype: torch.dtype = torch.float32):
        self.processor = Blip2Processor.from_pretrained(checkpoint)
        self.model = Blip2ForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype).eval()

    @torch.no_grad()
    def answer(self, image: Image.Image, prompt: str) -> str:
        """One answer, the way a user of transformers gets it."""
        inputs = self.processor(images=image, text=prompt or None, return_tensors="pt").to(self.model.dtype)
        output = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        prompt_tokens = inputs["input_ids"].shape[1] if prompt else 0
        return self.processor.batch_decode(output[:, prompt_tokens:], skip_special_tokens=True)[0].strip()

    @torch.no_grad()
    def answer_all(self, held_out: HeldOutSet, size: int | None = None) -> list[str]:
        """The same answers in batches of prompts of one length, so nothing is padded.

        `size`: another resolution than the checkpoint's, with interpolated positions.
        """
        resize = dict(size=dict(height=size, width=size)) if size else {}
        pixels = {name: self.processor.image_processor(image, return_tensors="pt", **resize)["pixel_values"][0]
                  for name, image in held_out.images.items()}
        visual = [self.model.config.image_token_index] * self.model.config.num_query_tokens
        prompts = [visual + self.processor.tokenizer(q.question)["input_ids"] for q in held_out.questions]
        answers = [""] * len(prompts)
        for batch in _equal_length_batches(prompts):
            ids = torch.tensor([prompts[i] for i in batch])
            images = torch.stack([pixels[held_out.questions[i].image] for i in batch]).to(self.model.dtype)
            output = self.model.generate(
                pixel_values=images, input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                max_new_tokens=MAX_NEW_TOKENS, interpolate_pos_encoding=size is not None)
            texts = self.processor.batch_decode(output[:, ids.shape[1]:], skip_special_tokens=True)
            for i, text in zip(batch, texts):
                answers[i] = text.strip()
        return answers


def _equal_length_batches(prompts):
    by_length = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    for rows in by_length.values():
        yield from (rows[i:i + BATCH] for i in range(0, len(rows), BATCH))
