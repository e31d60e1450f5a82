"""DensePose: charts pasted by hand-computed cases, and files in every encoding."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.data.densepose import ENCODINGS, densepose_encoding
from leffa.preprocess.densepose.chart import ChartDensePose, ChartOutput, paste
from leffa.preprocess.densepose.files import encode_surface, write_surface


def chart(
    boxes: Sequence[Sequence[float]], parts: Sequence[int], u: float = 0.5, v: float = 0.25
) -> ChartOutput:
    """People whose whole box is one part each; 8 cells a side; the last is the surest."""
    people, side = len(boxes), 8
    foreground = torch.zeros(people, 2, side, side)
    foreground[:, 1] = 1
    scores = torch.zeros(people, 25, side, side)
    for person, part in enumerate(parts):
        scores[person, part] = 1
    uv = [torch.full((people, 25, side, side), value) for value in (u, v)]
    sure = torch.linspace(0.6, 0.9, people)
    return ChartOutput(torch.tensor(boxes).view(people, 4), foreground, scores, *uv, sure)


def test_a_part_fills_its_box_and_nothing_else() -> None:
    surface = paste(chart([[10.7, 20.2, 30.9, 50.8]], [15]), 0, (64, 80))
    assert surface.shape == (80, 64, 3)
    # As detectron2: the corner is cut to whole pixels, and so are width and height.
    assert (surface[20:50, 10:30] == (15, 127, 63)).all()
    assert surface.astype(int).sum() == 30 * 20 * (15 + 127 + 63)


def test_a_box_may_reach_over_the_edges() -> None:
    surface = paste(chart([[-5.0, -8.0, 20.0, 12.0]], [3]), 0, (12, 10))
    assert (surface[..., 0] == 3).all()
    surface = paste(chart([[8.0, 6.0, 40.0, 40.0]], [3]), 0, (12, 10))
    assert (surface[6:, 8:, 0] == 3).all()
    assert not surface[:6].any()


def test_background_cells_and_part_zero_stay_empty() -> None:
    outputs = chart([[0.0, 0.0, 8.0, 8.0]], [2])
    outputs[1][0, 0, :, :4] = 2  # not foreground
    outputs[2][0, 0, 4:] = 3  # foreground, but of no part
    surface = paste(outputs, 0, (8, 8))
    assert (surface[:4, 4:, 0] == 2).all()
    assert not surface[:, :4].any()
    assert not surface[4:].any()


def test_each_pixel_has_the_u_and_v_of_its_part() -> None:
    outputs = chart([[0.0, 0.0, 8.0, 8.0]], [1])
    outputs[2][0, 7, :, 4:] = 2
    outputs[3][0, 1], outputs[3][0, 7] = 0.2, 1.4  # beyond 1 is cut
    surface = paste(outputs, 0, (8, 8))
    assert surface[0, 0].tolist() == [1, 51, 63]
    assert surface[0, 7].tolist() == [7, 255, 63]


def test_a_large_person_is_pasted_in_bands_as_if_at_once() -> None:
    """The whole of each chart enlarged by torch, as detectron2 does."""
    generator = torch.Generator().manual_seed(0)
    width, height = 31, 301
    charts = [torch.rand(1, count, 8, 8, generator=generator) for count in (2, 25, 25, 25)]
    boxes = torch.tensor([[0.0, 0.0, float(width), float(height)]])
    foreground, parts, u, v = (
        torch.nn.functional.interpolate(one, (height, width), mode="bilinear")[0] for one in charts
    )
    part = (parts.argmax(dim=0) * foreground.argmax(dim=0)).numpy()
    surface = paste(ChartOutput(boxes, *charts, torch.ones(1)), 0, (width, height))
    assert (surface[..., 0] == part).mean() > 0.999  # a tie may be rounded the other way
    for channel, chart in ((1, u), (2, v)):
        expected = 255 * np.take_along_axis(chart.numpy(), part[None], axis=0)[0] * (part > 0)
        assert np.quantile(np.abs(surface[..., channel] - expected), 0.999) <= 1


def test_the_demos_range_of_u_and_v_is_the_persons_own() -> None:
    outputs = chart([[0.0, 0.0, 8.0, 8.0]], [1], u=0.5, v=0.2)
    outputs[1][0, 0, 0, 0] = 9  # one cell of background: 0 is the least
    surface = paste(outputs, 0, (8, 8), "per_person")
    assert surface[4, 4].tolist() == [1, 255, 102]


def test_the_highest_score_wins() -> None:
    boxes = [[2.0, 2.0, 6.0, 6.0], [0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 8.0, 8.0]]
    found = chart(boxes, [1, 2, 3])
    image = Image.new("RGB", (16, 16))
    assert ChartDensePose(lambda _: found).find_surface(image)[4, 4, 0] == 3
    other = found._replace(scores=torch.tensor([0.6, 0.9, 0.7]))
    assert ChartDensePose(lambda _: other).find_surface(image)[4, 4, 0] == 2


def test_nobody_is_told() -> None:
    unsure = chart([[0.0, 0.0, 8.0, 8.0]], [1])._replace(scores=torch.tensor([0.3]))
    for found in (chart([], []), unsure):
        with pytest.raises(ValueError, match="no person was found"):
            ChartDensePose(lambda _, found=found: found).find_surface(Image.new("RGB", (16, 16)))  # type: ignore[misc]


def test_channels_come_in_the_order_asked_for() -> None:
    seen: list[Tensor] = []

    def network(picture: Tensor) -> ChartOutput:
        seen.append(picture)
        return chart([[0.0, 0.0, 4.0, 4.0]], [1])

    for channels in ("rgb", "bgr"):
        ChartDensePose(network, channels).find_surface(Image.new("RGB", (4, 6), (9, 8, 7)))  # type: ignore[arg-type]
    assert [picture[:, 0, 0].tolist() for picture in seen] == [[9, 8, 7], [7, 8, 9]]
    assert seen[0].shape == (3, 6, 4)
    assert seen[0].dtype == torch.uint8
    with pytest.raises(ValueError, match="channels=gbr: choose one of rgb, bgr"):
        ChartDensePose(network, "gbr")  # type: ignore[arg-type]


def surface() -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 25, 3), np.uint8)
    pixels[..., 0] = np.arange(25)
    pixels[:, 0] = 0
    return pixels


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_file_of_every_encoding_is_read_back(encoding: str, tmp_path: Path) -> None:
    pixels = surface()
    written = write_surface(pixels, tmp_path / "anna.png", encoding)
    assert sorted(written) == sorted(tmp_path.iterdir())
    reader = densepose_encoding(encoding)
    read = np.asarray(reader.read(tmp_path / "anna.png"))
    np.testing.assert_array_equal(reader.parts(read), pixels[..., 0])
    if encoding not in ("colour", "labels"):
        np.testing.assert_array_equal(read, pixels)


def test_an_unknown_encoding_is_told() -> None:
    with pytest.raises(ValueError, match="densepose=rgb: choose one of colour"):
        encode_surface(surface(), "rgb")
