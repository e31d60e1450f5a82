"""The commands that need no data: the demo, and what draws synthetic data sets."""

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
    """Draw data, train with and without the Leffa loss, compare, and write a report."""
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
    """Draw a synthetic data set, with ground-truth flow, in the layout of a real one.

    Args:
        layout: of which data set
        root: folder to fill; an interrupted run is completed
        test: test samples
        train: training samples (dress_code: per category)
        seed: of the whole data set
        height: default: the layout's usual shape
        width: likewise
        workers: processes
    """
    from leffa.io.progress import progress_bar
    from leffa.synthetic.write import write_dataset

    with progress_bar("drawing") as bar:
        write_dataset(layout, root, train, test, seed, height, width, workers, bar)
    print(f"written to {root}")
