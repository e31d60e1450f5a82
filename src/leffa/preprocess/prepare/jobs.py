"""Makes many small files in parallel, each written atomically and none twice.

Worker processes import this, so it imports no torch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from leffa.io.atomic import replacing
from leffa.io.files import exclusive_lock
from leffa.io.processes import map_items

Progress = Callable[[int, int], None]  # (files there, files in all)
Make = Callable[[], Image.Image | str]  # an image, or the text of another file


@contextmanager
def alone(root: Path, what: str) -> Iterator[None]:
    """Raise ValueError where another run is making these files of a dataset."""
    with exclusive_lock(root / f".{what}.lock", patience=0) as locked:
        if not locked:
            raise ValueError(f"{root}: another run is making {what} here; wait for it first")
        yield


def make_files(
    files: Mapping[Path, Make], what: str, workers: int, progress: Progress | None
) -> None:
    """Make the missing files, PNG or text; the next run completes a killed one.

    Args:
        files: what makes each; it raises ValueError or OSError, naming its input, where it
            cannot. With several workers it is pickled.
        what: their name in messages.
        workers: processes; the files do not depend on it.

    Raises:
        ValueError: some could not be made; the others were made.
    """
    missing = [(path, make) for path, make in files.items() if not path.exists()]
    made = map_items(_make, missing, workers, progress, len(files) - len(missing))
    if failures := [failure for failure in made if failure is not None]:
        raise ValueError(
            f"{len(failures)} of {len(files)} {what} could not be made, first {failures[0]}; fix "
            "this or remove these samples from the list, then run it again"
        )


def _make(job: tuple[Path, Make]) -> str | None:
    """Why it could not be made."""
    path, make = job
    try:
        made = make()
        with replacing(path) as temporary:
            if isinstance(made, str):
                temporary.write_bytes(made.encode())
            else:
                made.save(temporary, "PNG")
    except (ValueError, OSError, SyntaxError) as error:
        return str(error)
    return None
