"""The command about published weights."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from leffa.commands.options import Runner

if TYPE_CHECKING:
    from leffa.released.catalogue import Released

ACTIONS = ("list", "fetch", "where", "verify", "remove")


def weights(parser: argparse.ArgumentParser) -> Runner:
    """Published weights: list them, fetch them, say where they are, check them, remove them."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="as `leffa weights list` says")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="fetch: a folder with a copy of the repository's files, instead of the network",
    )

    def run(args: argparse.Namespace) -> int:
        from leffa.released.bring import is_here
        from leffa.released.catalogue import named, read_catalogue

        if args.source is not None and args.action != "fetch":
            raise ValueError("--from goes with fetch only")
        if args.action == "list":
            chosen = [named(name) for name in args.names] or list(read_catalogue().values())
            _list(chosen)
            return 0
        if not args.names and args.action != "verify":
            raise ValueError(f"leffa weights {args.action}: which? give a name of the list")
        chosen = [named(name) for name in args.names] or [
            entry for entry in read_catalogue().values() if is_here(entry)
        ]
        if not chosen:
            print("nothing of the list is here")
        act = {"fetch": _fetch, "where": _where, "verify": _verify, "remove": _remove}[args.action]
        return max([act(entry, args.source) for entry in chosen], default=0)

    return run


def _list(entries: "list[Released]") -> None:
    from leffa.released.bring import is_here

    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        state = "by hand" if entry.by_hand else "here" if is_here(entry) else "-"
        print(f"{entry.name:{width}}  {state:7}  {entry.purpose} ({entry.licence})")


def _fetch(entry: "Released", source: Path | None) -> int:
    from leffa.released.bring import bring, is_here, store

    if is_here(entry):
        print(f"{entry.name}: is here already")
    elif source is not None:
        store(entry).adopt(entry, source)
        print(f"{entry.name}: copied from {source}; not compared with the hub")
    else:
        bring([entry], lambda line: print(line, flush=True))
    return 0


def _where(entry: "Released", _: Path | None) -> int:
    from leffa.released.bring import store

    files = [path for _, path in store(entry).files_of(entry)]
    for place in files if len(files) == 1 else store(entry).where(entry).values():
        print(place)
    return 0


def _verify(entry: "Released", _: Path | None) -> int:
    from leffa.released.bring import store

    files = [path for _, path in store(entry).files_of(entry)]
    found = [store(entry).is_intact(path) for path in files]
    wrong = [path for path, intact in zip(files, found, strict=True) if intact is False]
    for path in wrong:
        print(f"{entry.name}: {path} is not what its hash says; remove it and fetch it again")
    if unknown := found.count(None):
        print(f"{entry.name}: {unknown} files have no hash here: no symbolic links in this cache")
    elif not wrong:
        print(f"{entry.name}: {len(files)} files are what their hashes say")
    return 1 if wrong else 0


def _remove(entry: "Released", _: Path | None) -> int:
    from leffa.released.bring import store

    for path in store(entry).remove(entry):
        print(f"removed {path}")
    return 0
