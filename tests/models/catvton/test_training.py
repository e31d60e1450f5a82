"""What is trained, what a checkpoint holds, and which base can be trained."""

import pytest
import torch
from catvton_parts import Bases, attention_names, build
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from model_parts import ALL_LAYERS, MakeBatch, gradients, leffa_loss, predict

from leffa.data.batch import Batch
from leffa.models.attention import PassthroughAttention
from leffa.models.catvton import CatVTON


def test_trains_the_self_attention_alone(model: CatVTON, make_batch: MakeBatch) -> None:
    predict(model.train(), make_batch()).noise.square().mean().backward()
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    assert reached == attention_names(model)
    assert len(reached) == 5 * 4  # q, k, v, the output's weight and bias, in four layers


def test_trains_the_whole_network_where_that_is_wanted(bases: Bases, make_batch: MakeBatch) -> None:
    model = build(bases(9), trainable="all")
    predict(model, make_batch()).noise.square().mean().backward()
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    assert reached == {name for name, _ in model.named_parameters() if name.startswith("unet.")}
    assert not any(isinstance(m, Attention) for n, m in model.unet.named_modules() if "attn2" in n)
    assert any(isinstance(m, PassthroughAttention) for m in model.unet.modules())


def assert_same(first: CatVTON, second: CatVTON, batch: Batch) -> None:
    """Two models give the same noise, flows and gradients."""
    predictions = [predict(model, batch, ALL_LAYERS) for model in (first, second)]
    torch.testing.assert_close(predictions[1].noise, predictions[0].noise)
    torch.testing.assert_close(predictions[1].flows, predictions[0].flows)
    for prediction in predictions:
        (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    torch.testing.assert_close(gradients(second), gradients(first))


def test_checkpointing_changes_neither_flows_nor_gradients(
    bases: Bases, make_batch: MakeBatch
) -> None:
    plain, checkpointed = (
        build(bases(9), gradient_checkpointing=on).train() for on in (False, True)
    )
    assert_same(plain, checkpointed, make_batch())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiling_changes_neither_flows_nor_gradients(bases: Bases, make_batch: MakeBatch) -> None:
    torch.compiler.reset()  # other sizes were compiled before
    plain, compiled = build(bases(9)), build(bases(9))
    compiled.unet.compile(backend="aot_eager", fullgraph=True)
    assert_same(plain, compiled, make_batch())


def test_a_checkpoint_needs_the_self_attention_alone(bases: Bases, make_batch: MakeBatch) -> None:
    trained, fresh = build(bases(9)), build(bases(9))
    with torch.no_grad():
        for name in attention_names(trained):
            trained.get_parameter(name).mul_(1.5)
    excluded = trained.excluded_keys()
    kept = {k: v for k, v in trained.state_dict().items() if k not in excluded}
    assert set(kept) == attention_names(trained)
    fresh.load_state_dict(kept, strict=False)
    expected = predict(trained, make_batch()).noise
    torch.testing.assert_close(predict(fresh, make_batch()).noise, expected)


def test_a_checkpoint_of_the_whole_network_lacks_the_autoencoder_alone(bases: Bases) -> None:
    model = build(bases(9), trainable="all")
    assert model.excluded_keys() == {key for key in model.state_dict() if key.startswith("vae.")}


def test_a_base_without_inpainting_channels_may_be_trained_as_a_whole(bases: Bases) -> None:
    model = build(bases(4), trainable="all")
    assert model.unet.config.in_channels == 9
    assert not model.unet.conv_in.weight[:, 4:].any()


@pytest.mark.parametrize("channels", [4, 8])
def test_a_base_without_inpainting_channels_is_refused_for_attention_only(
    bases: Bases, channels: int
) -> None:
    expected = rf"takes {channels} channels, not the 9 of an inpainting base; take backbone="
    with pytest.raises(ValueError, match=expected) as caught:
        build(bases(channels))
    assert "\n" not in str(caught.value)


def test_a_random_base_is_refused_for_attention_only(bases: Bases) -> None:
    config = UNet2DConditionModel.load_config(bases(9), subfolder="unet")
    with pytest.raises(ValueError, match="this backbone's is random; take a pretrained backbone"):
        CatVTON(config, bases(9), bases(9))
    assert CatVTON(config, bases(9), bases(9), trainable="all").unet.config.in_channels == 9


def test_an_unknown_choice_of_what_is_trained_is_named(bases: Bases) -> None:
    with pytest.raises(ValueError, match=r"model\.trainable must be .* got 'some'"):
        build(bases(9), trainable="some")
