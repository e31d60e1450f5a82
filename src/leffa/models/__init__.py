"""Leffa, CatVTON, IDM-VTON and CFLD behind one interface; the sampler; layouts of weights."""
