"""What parity asks of the three services."""
import base64
from pathlib import Path

import services


class Services(services.Services):
    def __init__(self, model: Path):
        super().__init__(model, "--threads=1")

    def analyze(self, image: Path, image_size: int = 0) -> dict:
        """AnalyzeImageResponse with all maps."""
        return self.post("/v1/diptych/analyze", dict(
            image=base64.b64encode(image.read_bytes()).decode(), cls_attention=True, qformer_attention=True,
            prepared_image=True, image_options=_size(image_size)))

    def ask(self, image: Path, question: str | None, image_size: int, max_tokens: int) -> dict:
        """The chat completion of one question, or of the caption, with relevance."""
        picture = dict(type="image_url", image_url=dict(
            url="data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()))
        text = [dict(type="text", text=question)] if question else []
        return self.post("/v1/chat/completions", dict(
            messages=[dict(role="user", content=[picture, *text])], max_tokens=max_tokens, return_relevance=True,
            logprobs=True, image_options=_size(image_size)))


def _size(image_size: int) -> dict:
    return dict(image_size=image_size) if image_size else {}
