"""The one text that FLUX is given: computed once and kept in a file, since it never changes.

The file is .safetensors: `prompt_embeds` (1, T, E) of T5 and `pooled_prompt_embeds` (1, P) of
CLIP's text encoder.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from leffa.io.atomic import replacing
from leffa.io.weights import load_weights
from leffa.models.loading import on_meta_device

log = logging.getLogger(__name__)

NAMES = ("prompt_embeds", "pooled_prompt_embeds")
KEYS = ("prompt", "tokens", "encoders", "file")


class Text(NamedTuple):
    tokens: Tensor  # (1, T, E)
    pooled: Tensor  # (1, P)


def fixed_text(source: Mapping[str, Any], width: int, pooled_width: int) -> Text:
    """What a transformer of these widths is told in every prediction.

    Args:
        source: `file`, which is read, or written first where it is not there, of `prompt` by the
            text encoders of a FLUX base, `encoders`, in `tokens` tokens. With `tokens` alone:
            random numbers, always the same, for a transformer that is trained from scratch.

    Raises:
        FileNotFoundError: neither the file nor the encoders are there.
        ValueError: an unknown key, or a text for another transformer.
    """
    if unknown := sorted(source.keys() - set(KEYS)):
        raise ValueError(f"model.text: unknown {unknown[0]!r}; choose from {', '.join(KEYS)}")
    count = int(source.get("tokens", 0))
    if on_meta_device():
        return Text(torch.zeros(1, count, width), torch.zeros(1, pooled_width))
    if source.get("file") is None:
        generator = torch.Generator().manual_seed(0)
        shapes = (1, count, width), (1, pooled_width)
        return Text(*(torch.randn(shape, generator=generator) for shape in shapes))
    file = Path(source["file"])
    if not file.is_file():
        _write(file, source)
    found = load_weights(file)
    with safe_open(file, framework="pt") as opened:
        prompt = (opened.metadata() or {}).get("prompt")
    if prompt is not None and prompt != source.get("prompt", prompt):
        raise ValueError(
            f"model.text.file={file}: is of another prompt, {prompt!r}; give another file, or "
            "delete it to create it again"
        )
    if missing := [name for name in NAMES if name not in found]:
        raise ValueError(
            f"model.text.file={file}: has no {missing[0]}; delete it to create it again"
        )
    text = Text(*(found[name].float() for name in NAMES))
    if (widths := (text.tokens.shape[-1], text.pooled.shape[-1])) != (width, pooled_width):
        raise ValueError(
            f"model.text.file={file}: is {widths[0]} and {widths[1]} wide, and this transformer "
            f"reads {width} and {pooled_width}; give another file, or delete it to create it again"
        )
    return text


def _write(file: Path, source: Mapping[str, Any]) -> None:
    """Let the text encoders of a base read the prompt, and keep what they make of it."""
    from diffusers import FluxPipeline

    encoders, prompt, count = (source.get(key) for key in ("encoders", "prompt", "tokens"))
    if not (encoders and prompt and count):
        raise FileNotFoundError(
            f"model.text.file={file}: is not there, and is made of model.text.encoders, prompt and "
            "tokens; give all three"
        )
    log.info("text encoders of %s read the prompt once, for %s", encoders, file)
    try:
        pipeline = FluxPipeline.from_pretrained(
            encoders, transformer=None, vae=None, dtype=torch.bfloat16
        )
    except (OSError, ImportError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FileNotFoundError(
            f"model.text.file={file}: is not there, and model.text.encoders={encoders} cannot be "
            f"read to make it: {reason}"
        ) from error
    with torch.no_grad():
        embeds = pipeline.encode_prompt(prompt, prompt, max_sequence_length=count)[:2]
    state = {name: value.float().contiguous() for name, value in zip(NAMES, embeds, strict=True)}
    with replacing(file) as temporary:
        save_file(state, temporary, metadata={"prompt": prompt})
