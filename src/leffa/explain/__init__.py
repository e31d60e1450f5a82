"""See what attention does: `leffa explain`.

Choose a point on the person and see where it looks in the reference, per layer, head and timestep;
the flow field; the warped reference; and two models side by side, such as before and after the
Leffa loss.
"""

from leffa.explain.attention import attention_rows, read_attention
from leffa.explain.job import ExplainSettings, Model, explain, explained_files, write_explanation

__all__ = [
    "ExplainSettings",
    "Model",
    "attention_rows",
    "explain",
    "explained_files",
    "read_attention",
    "write_explanation",
]
