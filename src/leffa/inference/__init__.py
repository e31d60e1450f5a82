"""From weights to images and flows.

loaded = load_model(Path("outputs/tryon"))  # or a .ckpt, an exported folder, a released file
loaded.model, loaded.inputs, loaded.flow_request
"""

from leffa.inference.forward import EncodedBatch, NoisedForward, noised_forward
from leffa.inference.generate import GeneratedBatch, Generation, generate_batches
from leffa.inference.loaded import LoadedModel, load_model

__all__ = [
    "EncodedBatch",
    "GeneratedBatch",
    "Generation",
    "LoadedModel",
    "NoisedForward",
    "generate_batches",
    "load_model",
    "noised_forward",
]
