"""The commands that make pictures of photos with published weights."""

import argparse
from pathlib import Path
from typing import Literal

from leffa.commands.options import Runner
from leffa.commands.predict import CATEGORIES, PRECISIONS


def tryon(parser: argparse.ArgumentParser) -> Runner:
    """Dress a person of a photo in a garment, with the released Leffa; fetches what it needs."""
    parser.add_argument("person", nargs="?", type=Path, help="a photo, or a folder")
    parser.add_argument("garment", nargs="?", type=Path, help="a picture, or a folder")
    parser.add_argument(
        "--category", choices=CATEGORIES, default="upper_body", help="default: upper_body"
    )
    parser.add_argument(
        "--worn", action="store_true", help="cut the garment out of a photo of who wears it"
    )
    parser.add_argument(
        "--mask", type=Path, metavar="PATH", help="of the person, white is repainted; or a folder"
    )
    parser.add_argument(
        "--paste-back", action="store_true", help="keep the photo's own pixels outside the mask"
    )
    default = "leffa_tryon, or leffa_tryon_dc for lower garments and dresses"
    return _shared(parser, "tryon", "garment", default)


def pose(parser: argparse.ArgumentParser) -> Runner:
    """Show REFERENCE's person as PERSON stands, with the released Leffa; fetches what it needs."""
    parser.add_argument("person", nargs="?", type=Path, help="gives the pose; or a folder")
    parser.add_argument("reference", nargs="?", type=Path, help="gives the looks; or a folder")
    return _shared(parser, "pose", "reference", "leffa_pose")


def _shared(
    parser: argparse.ArgumentParser,
    task: Literal["tryon", "pose"],
    reference: str,
    default: str,
) -> Runner:
    parser.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="instead: columns person, garment and, as needed, name, category, mask, densepose, "
        "parse, keypoints",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for all results")
    parser.add_argument(
        "--weights",
        metavar="NAME|PATH",
        help=f"of `leffa weights list`, or your own; default: {default}",
    )
    parser.add_argument("--steps", type=int, help="default: 50, as released")
    parser.add_argument("--seed", type=int, default=42, help="default: 42")
    parser.add_argument(
        "--keep-maps",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep parsing, keypoints and DensePose; default: yes",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps; default: auto")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="default: 16-mixed on cuda, else 32-true"
    )

    def run(args: argparse.Namespace) -> int:
        from leffa.photo_to_picture import PhotoRequest, make_pictures

        given = {key: value for key, value in vars(args).items() if key not in ("run", "parser")}
        request = PhotoRequest(task=task, reference=given.pop(reference), **given)
        result = make_pictures(request, lambda line: print(line, flush=True))
        for path in result.made:
            print(path)
        for reason in result.failed.values():
            print(f"not made: {reason}")
        return 1 if result.failed else 0

    return run
