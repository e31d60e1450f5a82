from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from leffa.data.fit import fit_picture
from leffa.data.flow import mirror_flow, place_flow, read_flow


def grid(height: int, width: int) -> Tensor:
    """(2, H, W): the flow of a picture onto itself."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.stack([x, y])


def stretched(
    flow: Tensor, valid: Tensor, size: tuple[int, int], reference_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The flow after both pictures are stretched to a size."""
    source_size = (flow.shape[2], flow.shape[1])
    here, there = (fit_picture(old, size, "stretch") for old in (source_size, reference_size))
    return place_flow(flow, valid, here, there)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    return F.grid_sample(picture[None], flow.permute(1, 2, 0)[None], align_corners=True)[0]


def smooth_picture(height: int, width: int) -> Tensor:
    """(3, H, W): waves a third of the picture long, the same in any size."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack([torch.sin(18 * x), torch.cos(18 * y), torch.sin(12 * (x + y))])


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**16))
def test_the_mirrored_reference_warped_by_the_mirrored_flow_is_the_mirrored_warp(
    height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(3, 7, 6, generator=generator)
    flow = torch.rand(2, height, width, generator=generator) * 2 - 1
    mirrored = warp(reference.flip(-1), mirror_flow(flow))
    torch.testing.assert_close(mirrored, warp(reference, flow).flip(-1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(24, 32), (16, 12), (12, 16)])
def test_the_flow_onto_itself_stays_that_at_any_smaller_size(size: tuple[int, int]) -> None:
    flow, valid = stretched(grid(64, 48), torch.ones(1, 64, 48), size, (48, 64))
    assert valid.all()
    torch.testing.assert_close(flow, grid(size[1], size[0]), atol=1e-5, rtol=0)


def test_at_the_stored_size_the_flow_is_untouched() -> None:
    flow, valid = torch.rand(2, 8, 6) - 0.5, (torch.rand(1, 8, 6) > 0.5).float()
    same, still_valid = stretched(flow, valid, (6, 8), (6, 8))
    torch.testing.assert_close(same, flow * valid)
    torch.testing.assert_close(still_valid, valid)


@pytest.mark.parametrize("reference_size", [(48, 64), (30, 80)])
def test_the_resized_reference_warped_by_the_resized_flow_is_the_resized_source(
    reference_size: tuple[int, int],
) -> None:
    width, height = 24, 32
    x, y = grid(64, 48)
    flow = torch.stack([0.5 * x + 0.2 * y - 0.1, 0.6 * y - 0.15 * x])
    resized, valid = stretched(flow, torch.ones(1, 64, 48), (width, height), reference_size)
    # The same surface points by hand: both pictures in fractions of their edges.
    edge_x, edge_y = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
    centre_x, centre_y = ((edge_x * 48 - 0.5) / 47 * 2 - 1), ((edge_y * 64 - 0.5) / 63 * 2 - 1)
    cy, cx = torch.meshgrid(centre_y, centre_x, indexing="ij")
    looked_x, looked_y = 0.5 * cx + 0.2 * cy - 0.1, 0.6 * cy - 0.15 * cx
    in_x = ((looked_x + 1) / 2 * (reference_size[0] - 1) + 0.5) / reference_size[0]
    in_y = ((looked_y + 1) / 2 * (reference_size[1] - 1) + 0.5) / reference_size[1]
    expected = torch.stack(
        [torch.sin(18 * in_x), torch.cos(18 * in_y), torch.sin(12 * (in_x + in_y))]
    )
    warped = warp(smooth_picture(4 * height, 4 * width), _to_size(resized, width, height))
    assert valid.all()
    assert (warped - expected).abs().mean() < 0.01


def _to_size(flow: Tensor, width: int, height: int) -> Tensor:
    """To a reference four times as large, where bilinear sampling of the waves is exact enough."""
    sizes = torch.tensor([width, height]).view(2, 1, 1)
    return flow * (sizes - 1) / sizes * (4 * sizes) / (4 * sizes - 1)


def test_a_stretched_garment_stays_valid() -> None:
    flow = grid(64, 48) * torch.tensor([2.5, 1.5]).view(2, 1, 1)
    _, valid = stretched(flow, torch.ones(1, 64, 48), (24, 32), (48, 64))
    assert valid.all()


def test_pixels_beside_an_invalid_one_become_invalid() -> None:
    valid = torch.ones(1, 8, 8)
    valid[0, 2, 2] = 0
    flow, kept = stretched(grid(8, 8), valid, (4, 4), (8, 8))
    assert kept[0, 1, 1] == 0
    assert kept.sum() == 15
    assert (flow[:, 1, 1] == 0).all()


def test_the_two_sides_of_a_seam_are_never_mixed() -> None:
    flow = torch.full((2, 8, 8), -0.5)
    flow[:, :, 3:] = 0.5
    resized, valid = stretched(flow, torch.ones(1, 8, 8), (4, 4), (8, 8))
    assert valid[0].tolist() == [[1, 0, 1, 1]] * 4
    scale = 7 / 8 * 4 / 3
    shown = resized[valid.expand(2, -1, -1) > 0].abs()
    torch.testing.assert_close(shown, torch.full_like(shown, 0.5 * scale))


def test_a_flow_file_is_read_as_written(viton_hd: Path) -> None:
    flow, valid = read_flow(viton_hd / "train/flow/00001_00.npz", (24, 32))
    assert flow.shape == (2, 32, 24)
    assert flow.dtype == torch.float32
    assert set(valid.unique().tolist()) == {0, 1}
    torch.testing.assert_close(flow[0, 0], torch.linspace(-0.7, 0.9, 24), atol=1e-3, rtol=0)


def test_a_flow_of_another_size_is_an_error(viton_hd: Path) -> None:
    with pytest.raises(ValueError, match=r"00001_00\.npz: flow \(32, 24, 2\) .* of 48x64"):
        read_flow(viton_hd / "train/flow/00001_00.npz", (48, 64))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nothing", b"text"])
def test_a_damaged_flow_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: holds no `flow` and `valid`"):
        read_flow(tmp_path / "a.npz", (4, 4))


def test_a_picture_resized_by_pil_agrees_with_the_resized_flow() -> None:
    """The geometry assumed above is the one that photographs are resized with."""
    reference = smooth_picture(128, 96)
    pixels = ((reference.permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    small = np.asarray(Image.fromarray(pixels).resize((48, 64), Image.Resampling.LANCZOS))
    small_reference = torch.from_numpy(small.copy()).permute(2, 0, 1) / 127.5 - 1
    flow = 0.7 * grid(128, 96)
    resized, _ = stretched(flow, torch.ones(1, 128, 96), (48, 64), (96, 128))
    source = F.avg_pool2d(warp(reference, flow)[None], 2)[0]
    difference = (warp(small_reference, resized) - source).abs().mean()
    assert difference < 0.02
