"""What transformers computes: the tensors at five taps, and the greedy tokens."""
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from transformers import AutoTokenizer, Blip2ForConditionalGeneration, BlipImageProcessorPil
from transformers.image_utils import load_image

TAPS = ("pixels", "vision", "qformer", "projected", "logits")


@dataclass
class Case:
    """An image (None: text alone), its text (None: a caption) and options of generate()."""
    image: Path | None
    text: str | None = None
    image_size: int = 0  # side of the square that the model sees; 0: its own
    max_new_tokens: int = 12
    min_new_tokens: int = 0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0  # more: sampled, which Reference.generate() does not do
    top_k: int = 50
    top_p: float = 1.0
    seed: int = 0


def _load(path: Path) -> Image.Image:
    """load_image(), which turns the image; but it drops transparency, which the processor lays over white if it sees it."""
    with Image.open(path) as opened:
        if "A" in opened.getbands() or "transparency" in opened.info:
            return ImageOps.exif_transpose(opened)
    return load_image(str(path))


class Reference:
    """A checkpoint in transformers, with the image processor that works with Pillow."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32, attention: bool = False,
                 device: str = "cpu"):
        kind = dict(attn_implementation="eager") if attention else {}  # the one that can give its weights
        self.model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype, **kind).eval().to(device)
        self.processor = BlipImageProcessorPil.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        config = self.model.config
        if config.image_token_index is None:  # a legacy checkpoint, for which transformers 5 has no placeholder
            config.image_token_index = self.tokenizer.convert_tokens_to_ids("<image>")
        self.image_token_id = config.image_token_index

    def prompt_ids(self, text: str | None, images: int) -> list[int]:
        """As Blip2Processor and generate() make them: placeholders, the beginning of the sequence, the text."""
        ids = self.tokenizer(text).input_ids if text else [self.model.config.text_config.bos_token_id]
        return [self.image_token_id] * (images * self.model.config.num_query_tokens) + ids

    def pixels(self, image: Path, size: int = 0) -> torch.Tensor:
        """-> [1, 3, S, S] float32."""
        override = dict(size=dict(height=size, width=size)) if size else {}
        return self.processor(_load(image), return_tensors="pt", **override).pixel_values

    @torch.no_grad()
    def taps(self, case: Case) -> dict[str, torch.Tensor]:
        """The tensors of the first step; `logits` [V] are those from which the first token is chosen.

        `projected` are the rows that stand in the prompt: where the decoder is wider than its embeddings,
        masked_scatter copies the projected queries there as one run of numbers.
        """
        ids = torch.tensor([self.prompt_ids(case.text, case.image is not None)])
        if case.image is None:
            return dict(logits=self.model.language_model(input_ids=ids).logits[0, -1].float())
        pixels = self.pixels(case.image, case.image_size)
        out = self.model(pixel_values=pixels, input_ids=ids, interpolate_pos_encoding=True)
        projected = self.model.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output
        width = self.model.get_input_embeddings().embedding_dim
        return dict(pixels=pixels, vision=out.vision_outputs.last_hidden_state, qformer=out.qformer_outputs.last_hidden_state,
                    projected=projected.flatten()[:projected.shape[1] * width].view(1, -1, width), logits=out.logits[0, -1].float())

    @torch.no_grad()
    def generate(self, case: Case) -> tuple[list[int], list[float]]:
        """New ids, and for each step by how much the best raw logit exceeds the next (empty with several beams)."""
        ids = torch.tensor([self.prompt_ids(case.text, case.image is not None)], device=self.model.device)
        out = self._generate(case, ids, output_scores=case.num_beams == 1)
        best = [score[0].topk(2).values for score in out.scores or ()]
        return out.sequences[0, ids.shape[1]:].tolist(), [float(b[0] - b[1]) for b in best]

    def _generate(self, case: Case, ids: torch.Tensor, **options):
        options |= dict(max_new_tokens=case.max_new_tokens, do_sample=False, num_beams=case.num_beams, return_dict_in_generate=True)
        if case.num_beams > 1:
            options |= dict(length_penalty=case.length_penalty, early_stopping=False)
        if case.min_new_tokens:
            options["min_new_tokens"] = case.min_new_tokens
        if case.repetition_penalty != 1:
            options["repetition_penalty"] = case.repetition_penalty
        if case.image is None:
            return self.model.language_model.generate(input_ids=ids, **options)
        pixels = self.pixels(case.image, case.image_size).to(self.model.device, self.model.dtype)
        return self.model.generate(pixels, input_ids=ids, interpolate_pos_encoding=True, **options)

    @torch.no_grad()
    def logits_before(self, case: Case, new_ids: list[int]) -> tuple[list[int], torch.Tensor]:
        """The prompt's ids, and the logits [len(new_ids), V] from which each of `new_ids` was chosen."""
        prompt = self.prompt_ids(case.text, case.image is not None)
        embeddings = self.model.get_input_embeddings()(torch.tensor([prompt + new_ids]))
        if case.image is not None:  # by hand: a new id may be that of the placeholder
            projected = self.taps(case)["projected"]
            embeddings[:, :projected.shape[1]] = projected
        logits = self.model.language_model(inputs_embeds=embeddings).logits
        return prompt, logits[0, len(prompt) - 1:-1].float()

    @torch.no_grad()
    def attention(self, case: Case, new_ids: list[int]) -> dict[str, torch.Tensor]:
        """Where the parts look, float32; only of a Reference with attention=True and a case with an image.

        `cls` [P]: the class token in the last vision layer. `queries` [Q, P]: the queries in the last Q-Former layer with
        cross-attention. Both averaged over the heads, the class token first. `decoder` [G, Q]: for each of `new_ids` the
        place that chose it, to the query tokens, averaged over layers and heads. `relevance` [G, P - 1]: the queries' maps,
        weighted with their shares of the decoder's attention to the image.
        """
        pixels = self.pixels(case.image, case.image_size).to(self.model.dtype)
        vision = self.model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True, output_attentions=True)
        qformer = self.model.qformer(query_embeds=self.model.query_tokens, encoder_hidden_states=vision.last_hidden_state,
                                     output_attentions=True)
        queries = qformer.cross_attentions[-1][0].float().mean(0)
        prompt = self.prompt_ids(case.text, case.image is not None)
        embeddings = self.model.get_input_embeddings()(torch.tensor([prompt + new_ids[:-1]]))
        projected = self.taps(case)["projected"]
        embeddings[:, :projected.shape[1]] = projected
        layers = self.model.language_model(inputs_embeds=embeddings, output_attentions=True).attentions
        decoder = torch.stack([layer[0].float().mean(0) for layer in layers]).mean(0)
        decoder = decoder[len(prompt) - 1:, :len(queries)]
        return dict(cls=vision.attentions[-1][0, :, 0].float().mean(0), queries=queries, decoder=decoder,
                    relevance=decoder / decoder.sum(1, keepdim=True) @ queries[:, 1:])

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def set_end_of_text(folder: Path, ids: list[int]) -> None:
    """Writes other end-of-text ids into a checkpoint's config.json. generation_config.json keeps what it has:
    Blip2ForConditionalGeneration.generate() runs the language model with text_config's ids."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["eos_token_id"] = ids[0] if len(ids) == 1 else ids
    path.write_text(json.dumps(config) + "\n")
