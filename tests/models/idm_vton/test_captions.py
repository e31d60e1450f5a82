"""Captions: what the text encoders are told, what the networks make of it, and from which files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from idm_vton_parts import (
    END,
    LENGTH,
    POOLED,
    SDXL,
    START,
    TIMESTEPS,
    VOCABULARY,
    WIDTHS,
    build,
    predict,
    save_text_encoders,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.idm_vton import IDMVTON
from leffa.models.idm_vton.encoders import Prompt, TextEncoders
from leffa.models.idm_vton.model import NEGATIVE_PROMPT

transformers = pytest.importorskip("transformers")

CAPTIONS = {"upper_body": "shirts", "dresses": "dress"}


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    """Tiny text encoders and tokenizers, as transformers writes them."""
    return save_text_encoders(tmp_path / "base")


@pytest.fixture
def model(text_folder: Path) -> IDMVTON:
    return build(text=text_folder, captions=CAPTIONS)


@pytest.fixture
def worn(batch: Batch) -> Batch:
    return {**batch, "category": ["upper_body", "dresses"]}


def test_a_text_is_what_both_encoders_say_before_their_last_layer(text_folder: Path) -> None:
    texts, tokens, pooled = ["a photo of dress", NEGATIVE_PROMPT], [], None
    for part, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        whole = part == "text_encoder_2"
        kind = transformers.CLIPTextModelWithProjection if whole else transformers.CLIPTextModel
        encoder = kind.from_pretrained(text_folder / part).eval()
        read = transformers.CLIPTokenizer.from_pretrained(text_folder / tokenizer)
        seen: list[Tensor] = []
        inner = encoder.text_model if hasattr(encoder, "text_model") else encoder
        inner.encoder.layers[-1].register_forward_pre_hook(
            lambda _, inputs, named, seen=seen: seen.append(
                inputs[0] if inputs else named["hidden_states"]
            ),
            with_kwargs=True,
        )
        rows = [[VOCABULARY[START], *spelled(text), VOCABULARY[END]] for text in texts]
        ids = torch.tensor([row + [read.pad_token_id] * (LENGTH - len(row)) for row in rows])
        with torch.no_grad():
            said = encoder(ids)
        tokens.append(seen[0])
        pooled = said.text_embeds if whole else None
    found = TextEncoders.load(text_folder)(texts)
    assert found.tokens.shape == (2, LENGTH, 12)
    torch.testing.assert_close(found.tokens, torch.cat(tokens, dim=-1))
    assert pooled is not None
    torch.testing.assert_close(found.pooled, pooled)


def spelled(text: str) -> list[int]:
    """Letter by letter, since the tiny vocabulary has no longer tokens; the last ends its word."""
    words = text.replace(",", " ,").split()
    return [
        VOCABULARY[letter + ("</w>" if place == len(word) - 1 else "")]
        for word in words
        for place, letter in enumerate(word)
    ]


def test_person_and_garment_are_named_by_category(model: IDMVTON, worn: Batch) -> None:
    assert model.text is not None
    known = model.encode(worn)
    persons = model.text(["model is wearing a shirts", "model is wearing a dress"])
    garments = model.text(["a photo of shirts", "a photo of dress"])
    torch.testing.assert_close(known.prompt, persons)
    torch.testing.assert_close(known.garment_prompt, garments.tokens)
    torch.testing.assert_close(known.no_prompt, model.text([NEGATIVE_PROMPT]))
    assert known.prompt.tokens.shape == known.garment_prompt.shape == (2, LENGTH, 12)
    assert known.prompt.pooled.shape == (2, POOLED)
    assert known.no_prompt.tokens.shape == (1, LENGTH, 12)
    assert (known.prompt.tokens[0] - known.prompt.tokens[1]).abs().max() > 1e-2


def test_a_category_without_a_word_stands_for_itself(model: IDMVTON, worn: Batch) -> None:
    assert model.text is not None
    known = model.encode({**worn, "category": ["skirt", "dresses"]})
    expected = model.text(["model is wearing a skirt", "model is wearing a dress"])
    torch.testing.assert_close(known.prompt, expected)


def test_without_its_garment_a_sample_has_the_negative_prompt(model: IDMVTON, worn: Batch) -> None:
    known = model.encode(worn)
    dropped = known.drop(torch.tensor([True, False])).prompt
    for found, whole, nothing in zip(dropped, known.prompt, known.no_prompt, strict=True):
        assert torch.equal(found[0], nothing[0])
        assert torch.equal(found[1], whole[1])
    nobody = known.unconditional()
    assert torch.equal(nobody.prompt.tokens, known.no_prompt.tokens.expand_as(known.prompt.tokens))
    assert torch.equal(nobody.prompt.pooled, known.no_prompt.pooled.expand_as(known.prompt.pooled))


@pytest.mark.parametrize("field", ["tokens", "pooled"])
def test_the_picture_depends_on_tokens_and_pooled_text(
    model: IDMVTON, worn: Batch, noisy: Tensor, field: str
) -> None:
    known = model.encode(worn)
    other = known.prompt._replace(**{field: -getattr(known.prompt, field)})
    changed = type(known)(**{**vars(known), "prompt": other})
    assert (predict(model, noisy, changed) - predict(model, noisy, known)).abs().max() > 1e-4


def test_the_garment_network_reads_the_garment_s_text(model: IDMVTON, worn: Batch) -> None:
    known = model.encode(worn)
    other = type(known)(**{**vars(known), "garment_prompt": -known.garment_prompt})
    with torch.no_grad():
        features = [model.garment_features(each, TIMESTEPS) for each in (known, other)]
    assert any((features[0][name] - features[1][name]).abs().max() > 1e-4 for name in features[0])


def test_without_captions_one_token_of_zeros_gives_what_all_give(
    batch: Batch, noisy: Tensor
) -> None:
    model = build()
    known = model.encode(batch)
    assert known.prompt.tokens.shape == (2, 1, 12)
    assert not any(value.any() for prompt in (known.prompt, known.no_prompt) for value in prompt)
    zeros = Prompt(torch.zeros(2, LENGTH, 12), known.prompt.pooled)
    many = {"prompt": zeros, "garment_prompt": zeros.tokens}
    all_zeros = type(known)(**{**vars(known), **many})
    torch.testing.assert_close(predict(model, noisy, all_zeros), predict(model, noisy, known))


def test_the_encoders_stay_as_they_are_and_the_text_is_learnt_from(
    model: IDMVTON, worn: Batch, noisy: Tensor
) -> None:
    assert model.text is not None
    model.train()
    assert not model.text.encoders.training
    model.predict_noise(noisy, TIMESTEPS, model.encode(worn)).noise.square().mean().backward()
    assert not any(p.requires_grad for p in model.text.parameters())
    assert {key for key in model.state_dict() if key.startswith("text.")} <= model.excluded_keys()
    trained = [
        p.grad
        for name, p in model.unet.named_parameters()
        if ".attn2.to_k." in name or ".attn2.to_v." in name
    ]
    assert trained
    assert all(gradient is not None and gradient.any() for gradient in trained)


@pytest.fixture
def published_text(text_folder: Path) -> Path:
    """The same in the layout of published bases: `text_model` before each name, the positions that
    older files keep, and tokenizers as two lists."""
    for part in WIDTHS:
        file = text_folder / part / "model.safetensors"
        state = {
            key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}": t
            for key, t in load_file(file).items()
        }
        state["text_model.embeddings.position_ids"] = torch.arange(LENGTH)[None]
        save_file(state, file, metadata={"format": "pt"})
    for part, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        for file in (text_folder / part).iterdir():
            file.unlink()
        (text_folder / part / "vocab.json").write_text(json.dumps(VOCABULARY))
        (text_folder / part / "merges.txt").write_text("#version: 0.2\n")
        special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
        (text_folder / part / "special_tokens_map.json").write_text(json.dumps(special))
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, **special}
        (text_folder / part / "tokenizer_config.json").write_text(json.dumps(config))
    return text_folder


def test_published_encoders_say_the_same(
    model: IDMVTON, worn: Batch, request: pytest.FixtureRequest
) -> None:
    expected = model.encode(worn)
    found = build(text=request.getfixturevalue("published_text"), captions=CAPTIONS).encode(worn)
    torch.testing.assert_close(found.prompt, expected.prompt)
    torch.testing.assert_close(found.no_prompt, expected.no_prompt)
    torch.testing.assert_close(found.garment_prompt, expected.garment_prompt)


def without_a_weight(folder: Path) -> None:
    file = folder / "text_encoder_2" / "model.safetensors"
    state = load_file(file)
    del state["text_projection.weight"]
    save_file(state, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (without_a_weight, r"1 keys are missing \(text_projection\.weight\)"),
        (lambda f: (f / "text_encoder").rename(f / "other"), "has no text_encoder/config.json"),
        (
            lambda f: (f / "tokenizer_2").rename(f / "other"),
            "has no tokenizer_2/",
        ),
    ],
)
def test_text_encoders_that_are_not_whole_are_refused_in_one_line(
    published_text: Path, change: Callable[[Path], object], line: str
) -> None:
    change(published_text)
    with pytest.raises((ValueError, FileNotFoundError), match=line) as caught:
        build(text=published_text)
    assert "\n" not in str(caught.value)


def test_text_of_another_width_is_refused(text_folder: Path) -> None:
    other = SDXL | {"cross_attention_dim": 16}
    with pytest.raises(ValueError, match=r"model\.text: its tokens are 12 wide, and model\.unet"):
        build(unet=other, garment_unet=other, text=text_folder)
