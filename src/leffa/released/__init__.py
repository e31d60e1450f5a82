"""Weights that others published: what there is, and where it lies on this machine."""
