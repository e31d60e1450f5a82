"""From weights to pictures and flows.

loaded = load_model(Path("outputs/tryon"))  # or a .ckpt, an exported folder, a released file
loaded.model, loaded.inputs, loaded.flow_request
"""

from leffa.inference.loaded import LoadedModel, load_model

__all__ = ["LoadedModel", "load_model"]
