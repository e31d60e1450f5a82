"""Where conf/ is: the user's own configuration, which only `leffa.run` composes."""

from pathlib import Path

_HERE = Path(__file__)
# In the repository beside src/; in an installed package below leffa/.
CONF = next(
    (p for p in (_HERE.parents[2] / "conf", _HERE.parent / "conf") if p.is_dir()),
    _HERE.parents[2] / "conf",
)
