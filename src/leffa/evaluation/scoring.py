"""What of an evaluation is scored apart, and what its numbers are called."""

from collections.abc import Sequence

from leffa.data.batch import Record
from leffa.data.dress_code import CATEGORIES

SET_METRICS = ("fid", "kid")


def dress_code_categories(records: Sequence[Record]) -> dict[str, list[str]]:
    """Category -> its samples' names; empty where there is one category only, or other ones."""
    names: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for record in records:
        names.setdefault(record.category, []).append(record.name)
    found = {category: each for category, each in names.items() if each}
    return found if len(found) > 1 and found.keys() <= set(CATEGORIES) else {}


def named_metrics(values: dict[str, float]) -> dict[str, float]:
    """`set/<metric>` for what compares the sets, `paired/<metric>` for the others."""
    return {
        f"{'set' if key.split('_')[0] in SET_METRICS else 'paired'}/{key}": value
        for key, value in values.items()
    }
