"""Parity with recorded outputs of the published network, pipeline and training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest, LayerTokens, keep_tokens
from leffa.losses.schedule import denoising_loss
from leffa.models.catvton_flux import CatVTONFlux
from leffa.models.catvton_flux.packing import pack, positions, unpack
from leffa.models.catvton_flux.pair import Conditioning
from leffa.models.catvton_flux.text import NAMES
from leffa.models.sampler import SamplerSettings, denoising_step
from leffa.models.schedulers import make_scheduler, set_timesteps

# diffusers on NumPy 2, as in test_sampler.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GRID = (6, 8)  # tokens of the pair
GUIDANCE = 30.0
# The guidance is embedded by sinusoids of up to 30,000. Their frequencies come from `torch.exp`,
# which Intel's and AMD's processors round differently: one unit in the last place of them moves a
# velocity by 1.4e-3. `stock` is compared on one processor, to 1e-5.
EMBEDDED = 1e-3
NAMES_OF_BLOCKS = {"double": "transformer_blocks", "single": "single_transformer_blocks"}


class Recorded(NamedTuple):
    model: CatVTONFlux
    golden: dict[str, Tensor]

    def conditioning(self, masked: str, guidance: float) -> Conditioning:
        """Of a recorded latent of the masked pair."""
        cells = (unpack(self.golden[name], GRID) for name in (masked, "mask_packed"))
        return Conditioning(guidance, *cells)

    def velocity(self, conditioning: Conditioning, flow: FlowRequest | None = None) -> Tensor:
        """Of the first call, as tokens."""
        noise = unpack(self.golden["initial_noise_packed"], GRID)
        timesteps = self.golden["timestep"] * 1000
        return pack(self.model.predict_noise(noise, timesteps, conditioning, flow).noise)


Build = Callable[..., Recorded]


@pytest.fixture(scope="module")
def build(recordings: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = recordings("catvton_flux")
    golden = load_file(folder / "golden.safetensors")
    text = tmp_path_factory.mktemp("text") / "text.safetensors"
    save_file({name: golden[name] for name in NAMES}, text)

    def make(**changes: Any) -> Recorded:
        model = CatVTONFlux(folder, folder, folder, {"file": str(text)}, **changes)
        return Recorded(model.eval(), golden)

    return make


@pytest.fixture(scope="module")
def recorded(build: Build) -> Recorded:
    made = build()
    made.model.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def stock(recorded: Recorded) -> FluxTransformer2DModel:
    """The network of diffusers with the same weights, fed as it was for the recording."""
    network = FluxTransformer2DModel.from_config(recorded.model.transformer.config)
    network.load_state_dict(recorded.model.transformer.state_dict())
    return network.eval()


def batch_of(person: Tensor, garment: Tensor, mask: Tensor) -> Batch:
    names = [str(number) for number in range(len(person))]
    return {  # type: ignore[typeddict-item]  # what the model reads of a batch
        **{"source": person, "reference": garment, "mask": mask},
        **{"name": names, "category": ["upper_body"] * len(names)},
    }


def shown(golden: dict[str, Tensor]) -> Batch:
    """The recorded pictures as a data set gives them."""
    garment, person = golden["inpaint_image"].chunk(2, dim=-1)
    return batch_of(person, garment, golden["extended_mask"].chunk(2, dim=-1)[1])


def close(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_the_pair_is_encoded_and_packed_as_published(recorded: Recorded) -> None:
    model, golden = recorded
    batch = shown(golden)
    assert torch.equal(model.image(batch, "pair"), golden["inpaint_image"])
    assert torch.equal(model.image(batch, "masked_pair"), golden["vae_input_masked"])
    close(model.latents(batch)["masked_pair"], golden["masked_moments"])
    # One generator drew the unmasked pair, the noise and the masked pair.
    generator = torch.Generator().manual_seed(42)
    model.encode_target(batch, generator, sample=True)
    noise = torch.randn(1, *model.latent_shape(batch), generator=generator)
    conditioning = model.encode(batch, generator, sample=True)
    parts = [pack(each) for each in (noise, conditioning.masked, conditioning.mask)]
    close(torch.cat(parts, dim=-1), golden["packed_input"])
    assert torch.equal(parts[2], golden["mask_packed"])
    assert torch.equal(unpack(pack(noise), GRID), noise)


def test_positions_run_over_the_whole_pair(recorded: Recorded) -> None:
    assert torch.equal(positions(GRID), recorded.golden["img_ids"])
    assert not recorded.golden["txt_ids"].any()


@pytest.mark.parametrize(
    ("masked", "guidance", "expected"),
    [
        ("masked_latent_packed", GUIDANCE, "velocity"),
        ("masked_latent_packed", 1.0, "velocity_guidance_1"),
        ("no_garment_masked_latent_packed", GUIDANCE, "velocity_no_garment"),
    ],
)
def test_the_velocity_is_the_recorded_one(
    recorded: Recorded, stock: FluxTransformer2DModel, masked: str, guidance: float, expected: str
) -> None:
    ((weight, branch),) = recorded.conditioning(masked, 1.0).branches(guidance)
    assert weight == 1
    velocity, golden = recorded.velocity(branch), recorded.golden
    close(velocity, golden[expected], EMBEDDED)
    parts = (golden[name] for name in ("initial_noise_packed", masked, "mask_packed"))
    with torch.no_grad():
        (published,) = stock(
            torch.cat([*parts], dim=-1),
            encoder_hidden_states=golden["prompt_embeds"],
            pooled_projections=golden["pooled_prompt_embeds"],
            timestep=golden["timestep"],
            img_ids=golden["img_ids"],
            txt_ids=golden["txt_ids"],
            guidance=torch.tensor([guidance]),
            return_dict=False,
        )
    close(velocity, published)


def test_queries_keys_and_flows_are_those_of_person_and_garment(recorded: Recorded) -> None:
    model, golden = recorded
    tokens: dict[str, LayerTokens] = {}
    request = FlowRequest(2.0, 0.0, tap=keep_tokens(tokens))
    conditioning = recorded.conditioning("masked_latent_packed", GUIDANCE)
    noise = unpack(golden["initial_noise_packed"], GRID)
    flows = model.predict_noise(noise, golden["timestep"] * 1000, conditioning, request).flows
    blocks = [key.removeprefix("query_") for key in golden if key.startswith("query_")]
    assert len(blocks) == len(flows) == 5
    for block in blocks:
        kind, number = block.split("_")
        name = f"{NAMES_OF_BLOCKS[kind]}.{int(number)}.attn"
        assert tokens[name].key_grid == (6, 4)
        close(tokens[name].query, golden[f"query_{block}"], EMBEDDED)
        close(tokens[name].key, golden[f"key_{block}"], EMBEDDED)
        close(flows[name], golden[f"flow_{block}"], EMBEDDED)


def test_samples_the_recorded_latents_and_decodes_the_person(recorded: Recorded) -> None:
    model, golden = recorded
    settings = SamplerSettings("euler", steps=4, guidance=GUIDANCE)
    scheduler = make_scheduler("euler", model.scheduler_config)
    shape = model.latent_shape(shown(golden))
    assert model.token_count(shape) == 48
    set_timesteps(scheduler, 4, torch.device("cpu"), model.token_count(shape))
    close(scheduler.sigmas, golden["sigmas"])
    conditioning = recorded.conditioning("masked_latent_packed", 1.0)
    step = denoising_step(model, conditioning, scheduler, None, settings)
    latents = unpack(golden["initial_noise_packed"], GRID)
    for number, timestep in enumerate(scheduler.timesteps):
        latents = step(latents, timestep)
        close(pack(latents), golden[f"latents_after_step_{number}"], EMBEDDED)
    close(pack(latents), golden["final_latents"], EMBEDDED)
    close(model.decode(latents).add(1).div(2).clamp(0, 1), golden["final_person_half"], EMBEDDED)


def test_a_training_step_is_the_recorded_one(recorded: Recorded) -> None:
    model, golden = recorded
    batch = batch_of(*(golden[f"train_{part}"] for part in ("person", "garment", "mask")))
    torch.manual_seed(13)
    conditioning = model.encode(batch, sample=True)
    clean = model.encode_target(batch, sample=True)
    close(
        torch.cat([pack(conditioning.masked), pack(conditioning.mask)], dim=-1),
        golden["train_cond"],
    )
    close(clean, golden["train_clean"])
    timesteps = golden["train_sigmas"] * 1000
    noisy = model.schedule.add_noise(clean, golden["train_noise"], timesteps)
    close(pack(noisy), golden["train_noisy_packed"])
    prediction = model.predict_noise(noisy, timesteps, conditioning).noise
    close(prediction, golden["train_velocity"], EMBEDDED)
    target = model.schedule.target(clean, golden["train_noise"], timesteps)
    close(target, golden["train_target"])
    close(denoising_loss(prediction, target), golden["train_loss"], EMBEDDED)


@torch.no_grad()
def test_the_published_adapters_give_the_recorded_velocity(
    build: Build, recordings: Callable[[str], Path]
) -> None:
    pytest.importorskip("peft")
    adapted = build(lora={"rank": 4, "alpha": 4})
    adapted.model.load_published(recordings("catvton_flux") / "lora")
    velocity = adapted.velocity(adapted.conditioning("masked_latent_packed", GUIDANCE))
    close(velocity, adapted.golden["velocity_lora"], EMBEDDED)
