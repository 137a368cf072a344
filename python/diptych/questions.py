"""Turns a call's arguments into a request."""

from __future__ import annotations

import io
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Protocol, TypedDict, Union, runtime_checkable

from google.protobuf.message import Message

from diptych.analysis import ImageSize
from diptych.v1 import gateway_pb2, inference_pb2


@runtime_checkable
class PillowImage(Protocol):
    """An image of Pillow: anything that saves itself as a PNG file."""

    def save(self, fp: IO[bytes], format: str) -> None: ...


@runtime_checkable
class BinaryFile(Protocol):
    """A file opened for reading bytes."""

    def read(self) -> bytes: ...


ImageInput = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, BinaryFile, PillowImage]
"""A file's path, an https address, an encoded file as bytes or opened, or an image of Pillow."""
ImagesInput = Union[ImageInput, Sequence[ImageInput], None]
History = Sequence[tuple[str, str]]
"""Earlier (question, answer) pairs, the oldest first."""


_ADDRESS = re.compile(r"data:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class Options(TypedDict, total=False):
    """Options of a question by their names in the protocol (docs/api.md); options left out have the server's defaults."""

    # How tokens are chosen: GenerationOptions.
    max_new_tokens: int
    min_new_tokens: int
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    num_beams: int
    seed: int
    stop: Sequence[str]
    logprobs: int
    length_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    min_p: float
    ignore_eos: bool
    stop_token_ids: Sequence[int]
    best_of: int
    prompt_logprobs: int
    cut_max_new_tokens: bool
    # How the image is prepared: ImageOptions.
    image_size: int
    max_side: int
    token_merging: float
    # The question itself.
    prompt_token_ids: Sequence[int]
    return_relevance: bool
    request_id: str
    model: str


def make_question(
    images: ImagesInput, question: str | None, prompt: str | None, history: History, options: Mapping[str, Any]
) -> inference_pb2.Question:
    """TypeError for question and prompt together, for anything but text and for unknown options; OSError for unreadable images."""
    if prompt is not None and (question is not None or history):
        raise TypeError("give question (and history) or prompt, not both")
    images_read = [make_image(image) for image in _as_list(images)]
    message = inference_pb2.Question(images=images_read, prompt=_text("prompt", prompt or ""))
    for asked, answered in _pairs(history):
        message.turns.add(role=inference_pb2.ROLE_USER, text=_text("a question of history", asked))
        message.turns.add(role=inference_pb2.ROLE_ASSISTANT, text=_text("an answer of history", answered))
    if question is not None or history:
        message.turns.add(role=inference_pb2.ROLE_USER, text=_text("question", question or ""))
    set_options((message, message.generation, message.image_options), options)
    return message


def _pairs(history: History) -> History:
    """TypeError for anything else, such as the messages of a chat, whose two keys would pass for a pair."""
    whole = isinstance(history, Sequence) and not isinstance(history, (str, bytes))
    if not whole or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in history):
        raise TypeError("history takes (question, answer) pairs, such as [('What color is the circle?', 'red')]")
    return history


def _text(name: str, text: str) -> str:
    if not isinstance(text, (str, bytes)):
        raise TypeError(f"{name} takes text, not {type(text).__name__}")
    return text


def make_analysis(
    image: ImageInput, attention: bool, prepared_image: bool, options: Mapping[str, Any]
) -> gateway_pb2.AnalyzeImageRequest:
    message = gateway_pb2.AnalyzeImageRequest(
        image=make_image(image),
        cls_attention=attention,
        qformer_attention=attention,
        prepared_image=prepared_image,
    )
    set_options((message, message.options), options)
    return message


def make_plan(
    images: Sequence[ImageSize | int],
    patch_size: int,
    question: str | None,
    prompt: str | None,
    history: History,
    max_new_tokens: int,
    cut_max_new_tokens: bool,
    windows: Sequence[int],
) -> gateway_pb2.PlanContextRequest:
    text = make_question(None, question, prompt, history, {})
    message = gateway_pb2.PlanContextRequest(prompt=text.prompt, turns=text.turns)
    for image in _several("images", images):
        size = image if isinstance(image, ImageSize) else ImageSize(image, image)
        planned = message.images.add()
        _set(planned, "height", size.height, of="images: ")
        _set(planned, "width", size.width, of="images: ")
    _set(message, "patch_size", patch_size)
    _set(message, "max_new_tokens", max_new_tokens)
    _set(message, "cut_max_new_tokens", cut_max_new_tokens)
    _set(message, "windows", _several("windows", windows))
    return message


def _several(name: str, values: Sequence[Any]) -> Sequence[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} takes a list, not {type(values).__name__}")
    return values


def make_image(image: ImageInput) -> inference_pb2.Image:
    """TypeError for anything but an image, ValueError for other addresses; OSError if it cannot be read."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return inference_pb2.Image(data=bytes(image))
    if isinstance(image, str) and image.lower().startswith(("https://", "http://")):
        return inference_pb2.Image(url=image)
    if isinstance(image, str) and (not image or _ADDRESS.match(image)):
        raise ValueError(f"an image's path or https address is wanted, not {image[:32]!r}; bytes are given as bytes")
    if isinstance(image, (str, os.PathLike)):
        return inference_pb2.Image(data=pathlib.Path(image).read_bytes())
    if isinstance(image, PillowImage):
        return inference_pb2.Image(data=_png(image))
    if isinstance(image, BinaryFile):
        return inference_pb2.Image(data=_content(image))
    remedy = "; PIL.Image.fromarray makes one of an array" if hasattr(image, "__array__") else ""
    raise TypeError(
        "an image is a path, an https address, bytes, a file opened for reading bytes or an image of Pillow, "
        f"not {type(image).__name__}{remedy}"
    )


def _png(image: PillowImage) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, "PNG")
    except OSError:  # PNG has no such mode: CMYK, say
        convert = getattr(image, "convert", None)
        if convert is None:
            raise
        file = io.BytesIO()
        convert("RGB").save(file, "PNG")
    return file.getvalue()


def _content(file: BinaryFile) -> bytes:
    content: object = file.read()
    if not isinstance(content, bytes):
        raise TypeError("a file of an image is opened for reading bytes: open(path, 'rb')")
    return content


def _as_list(images: ImagesInput) -> Sequence[ImageInput]:
    if images is None:
        return ()
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray, memoryview)):
        return images
    return (images,)


def set_options(messages: tuple[Message, ...], options: Mapping[str, Any]) -> None:
    """Sets each option that is not None on the message that has a field of its name; TypeError if none has."""
    for name, value in options.items():
        owner = next((message for message in messages if name in message.DESCRIPTOR.fields_by_name), None)
        if owner is None or name not in Options.__annotations__:
            raise TypeError(f"there is no option {name!r}; the options are {', '.join(Options.__annotations__)}")
        if value is not None:
            _set(owner, name, value)


def _set(owner: Message, name: str, value: Any, of: str = "") -> None:
    current = getattr(owner, name)
    is_map = hasattr(current, "update")
    if is_map != isinstance(value, Mapping):
        raise TypeError(f"{of}{name} takes {'a mapping' if is_map else 'no mapping'}, not {type(value).__name__}")
    try:
        if isinstance(value, Mapping):
            current.update(value)
        elif hasattr(current, "extend"):
            current.extend([value] if isinstance(value, (str, bytes)) else value)
        else:
            setattr(owner, name, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{of}{name}: {error}") from None
