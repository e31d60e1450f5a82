"""The command about published weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from leffa.released.catalogue import Released


def weights(
    action: Positional[Literal["list", "fetch", "where", "verify"]],
    names: Annotated[
        tuple[str, ...], Positional, arg(metavar="[NAME ...]", help_behavior_hint="")
    ] = (),
    source: Annotated[Path | None, arg(name="from", metavar="DIR", help_behavior_hint="")] = None,
) -> int:
    """List, download, locate and verify published weights.

    Args:
        action: what to do
        names: names from `leffa weights list`
        source: fetch: copy from a folder with the repository's files instead of the network
    """
    from leffa.released.bring import is_here
    from leffa.released.catalogue import named, read_catalogue

    if source is not None and action != "fetch":
        raise ValueError("--from goes with fetch only")
    if action == "list":
        _list([named(name) for name in names] or list(read_catalogue().values()))
        return 0
    if not names and action != "verify":
        raise ValueError(f"leffa weights {action}: give a name from `leffa weights list`")
    chosen = [named(name) for name in names] or [
        entry for entry in read_catalogue().values() if is_here(entry)
    ]
    if not chosen:
        print("none of the listed weights are here")
    act = {"fetch": _fetch, "where": _where, "verify": _verify}[action]
    return max([act(entry, source) for entry in chosen], default=0)


def _list(entries: "list[Released]") -> None:
    from leffa.released.bring import is_here

    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        state = "by hand" if entry.by_hand else "here" if is_here(entry) else "-"
        size = "" if entry.about is None else f"about {entry.about:g} GB; "
        print(f"{entry.name:{width}}  {state:7}  {entry.purpose} ({size}{entry.licence})")


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
    from leffa.released.files import count_files

    files = [path for _, path in store(entry).files_of(entry)]
    found = [store(entry).is_intact(path) for path in files]
    wrong = [path for path, intact in zip(files, found, strict=True) if intact is False]
    for path in wrong:
        print(f"{entry.name}: {path} does not match its hash; remove it and fetch it again")
    if unknown := found.count(None):
        print(f"{entry.name}: {unknown} files have no hash here: no symbolic links in this cache")
    elif not wrong:
        print(f"{entry.name}: {count_files(files)}, all hashes match")
    return 1 if wrong else 0
