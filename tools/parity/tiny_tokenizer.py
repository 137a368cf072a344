"""A small byte-level BPE with OPT's ids for its special tokens: <s> 0, <pad> 1, </s> 2, <unk> 3."""
import json

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

_TEXTS = [
    "Question: what color is the circle? Answer: it is red",
    "Question: how many cats are there? Answer: there are two cats on the couch",
    "Question: where is the dog? Answer: the dog is on the beach with a woman",
    "a photo of a small town at night, it's not a city; they've a river and we'll see",
    "Question: what's this? Answer: this is a picture of the moon over the water",
]
_VOCABULARY = 318


def train() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary (token -> id; all 256 bytes are in it) and merges, best first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(_TEXTS, trainers.BpeTrainer(
        vocab_size=_VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"]))
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    return vocabulary, merges_of(tokenizer)


def merges_of(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(m.split(" ")) if isinstance(m, str) else tuple(m)
            for m in json.loads(tokenizer.to_str())["model"]["merges"]]


def assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """The tokenizer as BLIP-2's repositories have it: </s> first; <pad>, </s> and <image> are added tokens."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True, normalized=True),
                                  AddedToken("</s>", special=True, normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)])
    return tokenizer
