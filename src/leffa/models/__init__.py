"""The models behind one interface, the sampler, and the layouts of their weights."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes, lazy_names

if TYPE_CHECKING:
    from leffa.models.catvton import CatVTON as CatVTON
    from leffa.models.catvton_flux.model import CatVTONFlux as CatVTONFlux
    from leffa.models.cfld.model import CFLD as CFLD
    from leffa.models.checkpoints import load_official as load_official
    from leffa.models.checkpoints import save_official as save_official
    from leffa.models.export import InputSpec as InputSpec
    from leffa.models.export import ModelSettings as ModelSettings
    from leffa.models.export import load_exported as load_exported
    from leffa.models.export import save_exported as save_exported
    from leffa.models.fitdit.model import FitDiT as FitDiT
    from leffa.models.idm_vton.model import IDMVTON as IDMVTON
    from leffa.models.interface import Conditioning as Conditioning
    from leffa.models.interface import PersonGenerator as PersonGenerator
    from leffa.models.interface import Prediction as Prediction
    from leffa.models.leffa import LeffaModel as LeffaModel
    from leffa.models.pipeline import LeffaPipeline as LeffaPipeline
    from leffa.models.sampler import SamplerSettings as SamplerSettings
    from leffa.models.sampler import generate as generate

__all__ = lazy_names(__file__)
__getattr__ = lazy_attributes(__name__, __file__)
