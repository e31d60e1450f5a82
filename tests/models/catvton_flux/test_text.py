"""The one text that FLUX is given: read once, kept in a file."""

import string
from pathlib import Path
from typing import Any

import pytest
import torch
from catvton_flux_parts import SCHEDULER
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from safetensors.torch import save_file

from leffa.models.catvton_flux.text import NAMES, fixed_text

PROMPT, TOKENS = "a pair", 6
WIDTHS = (8, 12)  # T5's, CLIP's


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLUX base that has tiny text encoders, and neither transformer nor autoencoder."""
    transformers = pytest.importorskip("transformers")
    letters = string.ascii_lowercase
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    clip = transformers.CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=9
    )
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in letters]
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "intermediate_size": 8, "num_hidden_layers": 1}
    clip_config = transformers.CLIPTextConfig(
        vocab_size=len(words), num_attention_heads=2, eos_token_id=1, **sizes
    )
    t5_config = transformers.T5Config(d_model=8, d_ff=8, d_kv=4, num_heads=2, num_layers=1)
    folder = tmp_path_factory.mktemp("encoders")
    FluxPipeline(
        FlowMatchEulerDiscreteScheduler.from_config(SCHEDULER),
        None,
        transformers.CLIPTextModel(clip_config),
        clip,
        transformers.T5EncoderModel(t5_config),
        transformers.T5TokenizerFast(vocab=pieces),
        None,
    ).save_pretrained(folder)
    return folder


def test_the_encoders_are_asked_once_and_the_file_from_then_on(
    encoders: Path, tmp_path: Path
) -> None:
    source: dict[str, Any] = {"prompt": PROMPT, "tokens": TOKENS, "encoders": str(encoders)}
    source["file"] = str(tmp_path / "new" / "text.safetensors")
    first = fixed_text(source, *WIDTHS)
    assert (first.tokens.shape, first.pooled.shape) == ((1, TOKENS, 8), (1, 12))
    pipeline = FluxPipeline.from_pretrained(
        encoders, transformer=None, vae=None, dtype=torch.bfloat16
    )
    with torch.no_grad():
        expected = pipeline.encode_prompt(PROMPT, PROMPT, max_sequence_length=TOKENS)[:2]
    for found, theirs in zip(first, expected, strict=True):
        torch.testing.assert_close(found, theirs.float())
    again = fixed_text(source | {"encoders": str(tmp_path / "gone")}, *WIDTHS)
    assert torch.equal(again.tokens, first.tokens)
    assert torch.equal(again.pooled, first.pooled)
    with pytest.raises(ValueError, match="is of another prompt, 'a pair'; give another file"):
        fixed_text(source | {"prompt": "another"}, *WIDTHS)


def test_without_a_file_the_numbers_are_random_and_always_the_same() -> None:
    one, other = (fixed_text({"tokens": 4}, *WIDTHS) for _ in range(2))
    assert one.tokens.shape == (1, 4, 8)
    assert torch.equal(one.tokens, other.tokens)
    assert one.tokens.std() > 0.5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"file": "none.safetensors"}, "is not there, and is made of model.text.encoders, prompt"),
        (
            {"file": "none.safetensors", "encoders": "none", "prompt": "a", "tokens": 3},
            "is not there, and model.text.encoders=none cannot be read to make it",
        ),
        ({"widths": (9, 12)}, "is 9 and 12 wide, and this transformer reads 8 and 12"),
        ({"keys": NAMES[:1]}, "has no pooled_prompt_embeds; delete it to create it again"),
        ({"words": 1}, "model.text: unknown 'words'; choose from prompt, tokens, encoders, file"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    change: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    widths = change.pop("widths", WIDTHS)
    kept = change.pop("keys", NAMES)
    shapes = {NAMES[0]: (1, 3, widths[0]), NAMES[1]: (1, widths[1])}
    save_file({name: torch.zeros(shapes[name]) for name in kept}, "text.safetensors")
    with pytest.raises((ValueError, FileNotFoundError), match=expected) as caught:
        fixed_text({"file": "text.safetensors", **change}, *WIDTHS)
    assert "\n" not in str(caught.value)
