"""Makes many small files in parallel, each written atomically and none twice.

Worker processes import this, so it imports no torch.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from leffa.io.atomic import replacing
from leffa.io.processes import map_items

Progress = Callable[[int, int], None]  # (files there, files in all)
Make = Callable[[], Image.Image | str]  # a picture, or the text of another file
Job = tuple[Path, Make]


def make_files(files: Mapping[Path, Make], workers: int, progress: Progress | None) -> list[str]:
    """Make the files that are not there yet, PNG or text; a killed run is completed by the next.

    Args:
        files: what makes each; it raises ValueError or OSError, naming its input, where it
            cannot. With several workers it is pickled.
        workers: processes; the files do not depend on it.

    Returns:
        Why files could not be made; the others are made all the same.
    """
    missing = [(path, make) for path, make in files.items() if not path.exists()]
    done = map_items(_do, missing, workers, progress, len(files) - len(missing))
    return [failure for failure in done if failure is not None]


def _do(job: Job) -> str | None:
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
