"""The models behind one interface; the sampler; layouts of weights."""
