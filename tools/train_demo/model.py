"""The tiny BLIP-2: its tokenizer, its configuration, how it starts, and a fast forward pass for training.

The parameters live in Hugging Face's `Blip2ForConditionalGeneration`, so a trained model is saved as one.
Shape letters: B images, P patches + 1, Q query tokens, R texts, L text tokens, D width, V vocabulary.
"""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Blip2Config, Blip2ForConditionalGeneration, GenerationConfig

import questions
import scenes

IMAGE_SIZE, PATCH_SIZE, WIDTH, QUERIES, VISION_LAYERS, QFORMER_LAYERS, HEADS = 112, 14, 128, 16, 4, 2, 4
WINDOW = 160  # positions of the language model: query tokens, prompt and answer
PAD, EOS = 1, 2  # OPT starts every text with </s> and ends it with </s>
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
CELLS = 9
DECODER_LAYERS = "language_model.model.decoder.layers."


def train_tokenizer(path: str, seed: int = 11) -> Tokenizer:
    """Trains and saves GPT-2's byte-level BPE with OPT's special tokens (<s> 0, <pad> 1, </s> 2, <unk> 3)."""
    rng, texts = random.Random(seed), []
    for _ in range(12000):
        scene = scenes.make_scene(rng)
        for kind in rng.choices(questions.KINDS, k=5):
            texts.append(" ".join(questions.ask(rng, scene, kind)))
        _, prompt, answer = questions.ask_caption(rng, scene)
        texts.append(f"{prompt} {answer}".strip())
    for noun in questions.FOREIGN_NOUNS + scenes.SHAPES:
        texts += [f"Question: how many {questions.plural(noun)} are there? Answer: there is no {noun}"] * 20
    for color in scenes.COLOR_NAMES + scenes.BACKGROUND_NAMES:
        texts += [f"{color} {color.capitalize()}"] * 20
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1023, min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<image>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", EOS)])
    tokenizer.save(path)
    return tokenizer


def build_model(tokenizer: Tokenizer, text_layers: int) -> Blip2ForConditionalGeneration:
    """A model with random weights: 2.33 M parameters with four text layers, 0.2 M more for each further one."""
    vocabulary = tokenizer.get_vocab_size()
    config = Blip2Config(
        vision_config=dict(
            hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=VISION_LAYERS,
            num_attention_heads=HEADS, image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, initializer_range=0.02),
        qformer_config=dict(
            vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=QFORMER_LAYERS,
            num_attention_heads=HEADS, cross_attention_frequency=1, encoder_hidden_size=WIDTH,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=64),
        text_config=dict(
            model_type="opt", vocab_size=vocabulary, hidden_size=WIDTH, word_embed_proj_dim=WIDTH, ffn_dim=4 * WIDTH,
            num_hidden_layers=text_layers, num_attention_heads=HEADS, max_position_embeddings=WINDOW, dropout=0.0,
            pad_token_id=PAD, bos_token_id=EOS, eos_token_id=EOS),
        num_query_tokens=QUERIES, image_token_index=tokenizer.token_to_id("<image>"), image_text_hidden_size=64)
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():
        model.query_tokens.normal_(std=1.0)
    model.generation_config = GenerationConfig(
        bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD, max_new_tokens=64)
    return model


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 or float pixels [B, height, width, 3], 0-255 -> model input, f32 [B, 3, height, width]."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


@torch.no_grad()
def init_vision(model, images: torch.Tensor, components: int = 112) -> None:
    """Starts the patch embedding as a whitening PCA of real patches and the positions as 2-D sines.

    With a random projection the flat colour of a patch drowns its outline, and shapes are learnt very slowly.
    `images` are normalised, [B, 3, IMAGE_SIZE, IMAGE_SIZE].
    """
    patches = F.unfold(images, PATCH_SIZE, stride=PATCH_SIZE).transpose(1, 2).reshape(-1, 3 * PATCH_SIZE**2)
    mean = patches.mean(0)
    variance, basis = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    variance, basis = variance.flip(0)[:components], basis.flip(1)[:, :components]
    weight = torch.zeros(WIDTH, 3 * PATCH_SIZE**2)
    weight[:components] = (basis / (variance + 0.02).sqrt()).T * 0.5
    weight = torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0] @ weight
    embeddings = model.vision_model.embeddings
    embeddings.patch_embedding.weight.copy_(weight.view(WIDTH, 3, PATCH_SIZE, PATCH_SIZE))
    embeddings.patch_embedding.bias.copy_(-(weight @ mean))
    grid = IMAGE_SIZE // PATCH_SIZE
    frequency = 0.2 * (2.5 / 0.2) ** (torch.arange(WIDTH // 4) / (WIDTH // 4 - 1))
    phase = torch.arange(grid)[:, None] * frequency
    line = torch.cat([phase.sin(), phase.cos()], 1)
    rows, columns = line[:, None].expand(grid, grid, -1), line[None].expand(grid, grid, -1)
    embeddings.position_embedding[:, 1:] = 0.35 * torch.cat([rows, columns], -1).reshape(1, grid * grid, WIDTH)


def deepened(state: dict, sources: list[int]) -> dict:
    """Model weights with more text layers that compute the same answers.

    New layer i takes the weights of old layer sources[i]; a second copy of a layer has its two output projections
    zeroed, so it adds nothing until it is trained.
    """
    result = {k: v for k, v in state.items() if not k.startswith(DECODER_LAYERS)}
    for i, source in enumerate(sources):
        repeated = source in sources[:i]
        for key, value in state.items():
            if not key.startswith(f"{DECODER_LAYERS}{source}."):
                continue
            name = key.removeprefix(f"{DECODER_LAYERS}{source}.")
            silent = repeated and name.startswith(("self_attn.out_proj", "fc2"))
            result[f"{DECODER_LAYERS}{i}.{name}"] = torch.zeros_like(value) if silent else value.clone()
    return result


def text_layers(state: dict) -> int:
    """How many text layers the weights have."""
    return 1 + max(int(k.removeprefix(DECODER_LAYERS).split(".")[0]) for k in state if k.startswith(DECODER_LAYERS))


class PerceptionHeads(nn.Module):
    """Throw-away classifiers that teach the vision half what is where.

    Every patch names the object of the cell in which it lies; query tokens 0-8 name the object of "their" cell,
    token 9 the background, token 10 the number of objects.
    """

    def __init__(self):
        super().__init__()
        self.shapes, self.colors = len(scenes.SHAPES) + 1, len(scenes.COLORS) + 1  # + 1: an empty cell
        self.patch = nn.Linear(WIDTH, self.shapes + self.colors)
        self.cell = nn.Linear(WIDTH, self.shapes + self.colors + len(scenes.SIZES))
        self.background = nn.Linear(WIDTH, len(scenes.BACKGROUND_NAMES))
        self.count = nn.Linear(WIDTH, 6)

    def _split(self, logits):
        return logits.split([self.shapes, self.colors, logits.shape[-1] - self.shapes - self.colors], -1)

    def loss(self, patches: torch.Tensor, queries: torch.Tensor, labels: dict) -> torch.Tensor:
        """patches [B, P, D], queries [B, Q, D] -> scalar loss."""
        shape, color, size = labels["shape"], labels["color"], labels["size"]
        shape_logits, color_logits, size_logits = self._split(self.cell(queries[:, :CELLS]))
        occupied = shape > 0
        loss = 3 * (_cross_entropy(shape_logits, shape) + _cross_entropy(color_logits, color))
        loss = loss + F.cross_entropy(size_logits[occupied], size[occupied])
        loss = loss + 0.5 * F.cross_entropy(self.background(queries[:, 9]), labels["background"])
        loss = loss + 0.5 * F.cross_entropy(self.count(queries[:, 10]), labels["count"])
        cell = _cell_of_patch(int((patches.shape[1] - 1) ** 0.5))
        shape_logits, color_logits, _ = self._split(self.patch(patches[:, 1:]))
        return loss + _cross_entropy(shape_logits, shape[:, cell]) + _cross_entropy(color_logits, color[:, cell])

    @torch.no_grad()
    def accuracy(self, queries: torch.Tensor, labels: dict) -> dict[str, float]:
        """Shares of objects named right by shape, objects right in everything, and scenes right in every cell."""
        shape, color, size = (part.argmax(-1) for part in self._split(self.cell(queries[:, :CELLS])))
        occupied = labels["shape"] > 0
        right = (shape == labels["shape"]) & (color == labels["color"]) & ((size == labels["size"]) | ~occupied)
        return dict(shape=(shape == labels["shape"])[occupied].float().mean().item(),
                    object=right[occupied].float().mean().item(), scene=right.all(1).float().mean().item())


def _cross_entropy(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _cell_of_patch(grid):
    """[grid * grid]: the scene cell in which the centre of each patch lies."""
    line = (torch.arange(grid) * 2 + 1) * 3 // (2 * grid)
    return (line[:, None] * 3 + line[None, :]).flatten()


def perception_labels(batch: list[scenes.Scene]) -> dict[str, torch.Tensor]:
    """Class indices for PerceptionHeads: shape, color, size [B, 9] (0: empty cell), background and count [B]."""
    shape, color, size = (torch.zeros(len(batch), CELLS, dtype=torch.long) for _ in range(3))
    for row, scene in enumerate(batch):
        for o in scene.objects:
            shape[row, o.cell] = 1 + scenes.SHAPES.index(o.shape)
            color[row, o.cell] = 1 + scenes.COLOR_NAMES.index(o.color)
            size[row, o.cell] = scenes.SIZES.index(o.size)
    return dict(shape=shape, color=color, size=size,
                background=torch.tensor([scenes.BACKGROUND_NAMES.index(s.background) for s in batch]),
                count=torch.tensor([min(5, len(s.objects)) for s in batch]))


def see(model, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised images [B, 3, size, size] -> ViT output [B, P, D], Q-Former output [B, Q, D]."""
    patches = model.vision_model(images, interpolate_pos_encoding=images.shape[-1] != IMAGE_SIZE).last_hidden_state
    tokens = model.query_tokens.expand(images.shape[0], -1, -1)
    return patches, model.qformer(query_embeds=tokens, encoder_hidden_states=patches).last_hidden_state
