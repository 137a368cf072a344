"""Writes trained weights as a Hugging Face checkpoint (bf16):

    python checkpoint.py --run run --weights relations.pt --out ../../models/demo
"""
import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

import model as demo

_SPECIAL_TOKENS = dict(bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>")


def export(run: Path, weights: str, out: Path) -> None:
    """Writes config, weights, tokenizer and processor files; other files in `out` stay as they are."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    state = torch.load(run / weights)["model"]
    model = demo.build_model(tokenizer, demo.text_layers(state))
    model.load_state_dict(state)
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(out)
    _write_tokenizer(tokenizer, json.loads((run / "tokenizer.json").read_text()), out)
    _write_processor(out)


def _write_tokenizer(tokenizer, tokenizer_json, out):
    """The tokenizer in both of its forms: tokenizer.json, and vocab.json with merges.txt."""
    image_token = {"<image>": tokenizer.token_to_id("<image>")}
    vocabulary = dict(sorted(tokenizer_json["model"]["vocab"].items(), key=lambda item: item[1])) | image_token
    merges = (m if isinstance(m, str) else " ".join(m) for m in tokenizer_json["model"]["merges"])
    (out / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    _write_json(out / "vocab.json", vocabulary)
    _write_json(out / "tokenizer.json", tokenizer_json)
    _write_json(out / "special_tokens_map.json", _SPECIAL_TOKENS)
    _write_json(out / "added_tokens.json", image_token)
    # No `image_token` here: Blip2Processor of transformers 5.23 fails to load with it.
    _write_json(out / "tokenizer_config.json", dict(
        add_bos_token=True, add_prefix_space=False, errors="replace", model_max_length=demo.WINDOW - demo.QUERIES,
        tokenizer_class="GPT2Tokenizer", processor_class="Blip2Processor", padding_side="left", **_SPECIAL_TOKENS))


def _write_processor(out):
    side = demo.IMAGE_SIZE
    _write_json(out / "preprocessor_config.json", dict(
        image_processor_type="BlipImageProcessor", processor_class="Blip2Processor", do_convert_rgb=True,
        do_resize=True, size=dict(height=side, width=side), resample=3, do_rescale=True, rescale_factor=1 / 255,
        do_normalize=True, image_mean=demo.IMAGE_MEAN, image_std=demo.IMAGE_STD))
    _write_json(out / "processor_config.json", dict(processor_class="Blip2Processor", num_query_tokens=demo.QUERIES))


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("run"))
    parser.add_argument("--weights", default="relations.pt")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(args.run, args.weights, args.out)


if __name__ == "__main__":
    main()
