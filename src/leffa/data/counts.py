"""How many pairs each official list has, so that half a data set is not taken for the whole."""

import logging
from collections.abc import Sequence
from pathlib import Path

from leffa.data.batch import DRAWN

log = logging.getLogger(__name__)

OFFICIAL: dict[str, int] = {
    "VITON train": 14_221,  # README of VITON (Han et al., 2018)
    "VITON test": 2_032,
    "VITON-HD train": 11_647,  # README of the release; Leffa, appendix A.1
    "VITON-HD test": 2_032,
    "DressCode upper_body train": 13_563,  # Leffa, appendix A.1
    "DressCode lower_body train": 7_151,
    "DressCode dresses train": 27_678,
    "DressCode upper_body test": 1_800,
    "DressCode lower_body test": 1_800,
    "DressCode dresses test": 1_800,
    "DeepFashion train": 101_966,  # Zhu et al., 2019; Leffa, appendix A.1
    "DeepFashion test": 8_570,
    "DeepFashion train pictures": 48_674,  # lines of PATN's train.lst and test.lst
    "DeepFashion test pictures": 4_038,
    "Market-1501 train": 263_632,  # PATN's published lists
    "Market-1501 test": 12_000,
    "WPose test": 2_304,  # README of UniHuman (Li et al., 2024)
}
"""Pairs (or pictures, where the key says so); sizes of the lists as published."""


def check_count(
    root: Path, parts: Sequence[str], found: int, pair_list: Path, allow_subset: bool
) -> None:
    """Compare the length of a list with the official one. A drawn copy has a size of its own.

    Args:
        root: of the data set.
        parts: what the list covers, as keys of `OFFICIAL`.
        found: pairs that it has.
        pair_list: the list, for messages.
        allow_subset: fewer are welcome, and logged.

    Raises:
        ValueError: there are more, or fewer and `allow_subset` is not set.
    """
    official = sum(OFFICIAL[part] for part in parts)
    if found == official or (root / DRAWN).is_file():
        return
    if found > official:
        raise ValueError(
            f"{pair_list}: lists {found:,} pairs, the official list has {official:,}; use the "
            "official list, or the data set `folder` for a list of your own"
        )
    if not allow_subset:
        raise ValueError(
            f"{pair_list}: lists {found:,} of {official:,} pairs; copy the whole list from the "
            "data set's archive, or set allow_subset=true"
        )
    log.info("%s: %s of %s pairs", ", ".join(parts), f"{found:,}", f"{official:,}")
