"""The models behind one interface, the sampler, and the layouts of their weights."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes

if TYPE_CHECKING:
    from leffa.models.catvton import CatVTON
    from leffa.models.catvton_flux.model import CatVTONFlux
    from leffa.models.cfld.model import CFLD
    from leffa.models.checkpoints import load_official, save_official
    from leffa.models.export import InputSpec, ModelSettings, load_exported, save_exported
    from leffa.models.fitdit.model import FitDiT
    from leffa.models.idm_vton.model import IDMVTON
    from leffa.models.interface import Conditioning, PersonGenerator, Prediction
    from leffa.models.leffa import LeffaModel
    from leffa.models.pipeline import LeffaPipeline
    from leffa.models.sampler import SamplerSettings, generate

__all__ = [
    "CFLD",
    "IDMVTON",
    "CatVTON",
    "CatVTONFlux",
    "Conditioning",
    "FitDiT",
    "InputSpec",
    "LeffaModel",
    "LeffaPipeline",
    "ModelSettings",
    "PersonGenerator",
    "Prediction",
    "SamplerSettings",
    "generate",
    "load_exported",
    "load_official",
    "save_exported",
    "save_official",
]
__getattr__ = lazy_attributes(__name__, __file__)
