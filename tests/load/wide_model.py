"""The bundled model with a decoder as large as OPT-125m's, the smallest that was published: a token takes the time that it takes in use."""
import json
import math
import pathlib
import shutil
import struct

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"
WIDTH, INNER, LAYERS, HEADS = 768, 3072, 12, 12


def shapes():
    """Of all tensors, by name: the bundled model's, with the decoder's own."""
    with open(DEMO / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    text = json.loads((DEMO / "config.json").read_text())["text_config"]
    widths = {text["hidden_size"]: WIDTH, text["ffn_dim"]: INNER}
    had = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    wide = {name: [widths.get(side, side) for side in shape] for name, shape in had.items() if name.startswith("language_model.")}
    layer = "language_model.model.decoder.layers."
    wide |= {name.replace(f"{layer}0.", f"{layer}{number}."): shape for name, shape in wide.items() if name.startswith(f"{layer}0.")
             for number in range(LAYERS)}
    projection = {name: [WIDTH, *shape[1:]] for name, shape in had.items() if name.startswith("language_projection.")}
    return had | wide | projection


def write(folder):
    """All weights are zeros, of which the file system keeps none: a product takes as long with them as with others."""
    folder = pathlib.Path(folder)
    for file in DEMO.glob("*.json"):
        shutil.copy(file, folder)
    shutil.copy(DEMO / "merges.txt", folder)
    config = json.loads((DEMO / "config.json").read_text())
    config["text_config"] |= dict(hidden_size=WIDTH, word_embed_proj_dim=WIDTH, ffn_dim=INNER, num_hidden_layers=LAYERS, num_attention_heads=HEADS)
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in shapes().items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
