"""Which of a model's layers a page shows."""

from collections.abc import Sequence

from leffa.explain.attention import LayerShape
from leffa.explain.view import short_names
from leffa.inference.loaded import LoadedModel
from leffa.losses.request import matches

ALL = "all"
MOST_LAYERS = 8  # on a page, where none were chosen


def trained_layers(found: dict[str, LayerShape], loaded: LoadedModel) -> list[str]:
    """The layers that `leffa_loss.layers` names; none where it trains all."""
    patterns = loaded.flow_request.layers or ()
    return [name for name in found if any(matches(name, pattern) for pattern in patterns)]


def chosen_layers(
    found: dict[str, LayerShape], wanted: Sequence[str], shown: Sequence[str] = ()
) -> dict[str, LayerShape]:
    """The layers of a page: those wanted, else all of a small model, and of a large one an even
    choice and those to be `shown` in any case."""
    names = list(found)
    if wanted:
        full = {each for name in wanted for each in full_names(name, found)}
        names = [name for name in names if name in full]
    elif len(names) > MOST_LAYERS:
        steps = [round(i * (len(names) - 1) / (MOST_LAYERS - 1)) for i in range(MOST_LAYERS)]
        chosen = {names[step] for step in steps}.union(shown)
        names = [name for name in names if name in chosen]
    return {name: found[name] for name in names}


def full_names(name: str, known: dict[str, LayerShape]) -> list[str]:
    """The dotted names of the layers that a short name, or a pattern of `leffa_loss.layers`, names;
    all of them for "all"."""
    by_short = {short: full for full, short in short_names(known).items()}
    if name in by_short:
        return [by_short[name]]
    full = [each for each in known if name == ALL or matches(each, name)]
    if not full:
        raise ValueError(f"layer {name!r}: these weights have {', '.join(by_short)}")
    return full
