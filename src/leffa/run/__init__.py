"""From a configuration to a run: the only package that uses Hydra; others get plain values.

Names are imported on first use: help and configuration need no torch.
"""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes

if TYPE_CHECKING:
    from leffa.run.config import CONF as CONF
    from leffa.run.config import choices as choices
    from leffa.run.config import compose as compose
    from leffa.run.config import settings as settings
    from leffa.run.evaluation import evaluate as evaluate
    from leffa.run.evaluation import test_set as test_set
    from leffa.run.training import Run as Run
    from leffa.run.training import assemble as assemble
    from leffa.run.training import first_model as first_model
    from leffa.run.training import train as train

__getattr__ = lazy_attributes(__name__, __file__)
