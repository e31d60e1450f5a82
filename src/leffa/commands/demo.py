"""Commands that need no data: the demo, and rendering synthetic datasets."""

from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from leffa.commands.options import Root
from leffa.data.catalog import SYNTHETIC_LAYOUTS
from leffa.demo.settings import DemoSettings

Pixels = Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="")]
Count = Annotated[int, arg(metavar="N")]
if TYPE_CHECKING:
    Layout = str
else:
    Layout = Literal[SYNTHETIC_LAYOUTS]


def demo(settings: OmitArgPrefixes[DemoSettings]) -> None:
    """Render data, train with and without the Leffa loss, compare, and write a report."""
    from leffa.demo.run import run_demo

    run_demo(settings)


def draw(
    layout: Positional[Layout],
    root: Root,
    test: Count,
    train: Count = 0,
    seed: int = 0,
    height: Pixels = None,
    width: Pixels = None,
    workers: int = 1,
) -> None:
    """Render a synthetic dataset with ground-truth flow in the layout of a real one.

    Args:
        layout: layout of which dataset
        root: output folder; rerun to complete an interrupted run
        test: number of test samples
        train: number of training samples (dress_code: per category)
        seed: seed of the dataset
        height: default: the layout's usual size
        width: likewise
        workers: number of processes
    """
    from leffa.io.progress import progress_bar
    from leffa.synthetic.write import write_dataset

    with progress_bar("drawing") as bar:
        write_dataset(layout, root, train, test, seed, height, width, workers, bar)
    print(f"written to {root}")
