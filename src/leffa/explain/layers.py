"""Which of a model's layers a page shows."""

from collections.abc import Sequence

from leffa.explain.attention import LayerShape
from leffa.explain.view import short_names
from leffa.inference.loaded import LoadedModel
from leffa.losses.request import matches

MOST_LAYERS = 8  # on a page, where none were chosen


def trained_layers(found: dict[str, LayerShape], loaded: LoadedModel) -> list[str]:
    """The layers that `leffa_loss.layers` names; none where it trains all."""
    patterns = loaded.flow_request.layers or ()
    return [name for name in found if any(matches(name, pattern) for pattern in patterns)]


def chosen_layers(
    found: dict[str, LayerShape], wanted: Sequence[str], trained: Sequence[str] = ()
) -> dict[str, LayerShape]:
    """The layers of a page: those wanted, else all of a small model, and of a large one an even
    choice and those trained."""
    names = list(found)
    if wanted:
        full = {full_name(name, found) for name in wanted}
        names = [name for name in names if name in full]
    elif len(names) > MOST_LAYERS:
        steps = [round(i * (len(names) - 1) / (MOST_LAYERS - 1)) for i in range(MOST_LAYERS)]
        chosen = {names[step] for step in steps}.union(trained)
        names = [name for name in names if name in chosen]
    return {name: found[name] for name in names}


def full_name(name: str, known: dict[str, LayerShape]) -> str:
    """The dotted name of a layer given by its dotted or short name."""
    by_short = {short: full for full, short in short_names(known).items()}
    full = name if name in known else by_short.get(name)
    if full is None:
        raise ValueError(f"layer {name!r}: these weights have {', '.join(by_short)}")
    return full
