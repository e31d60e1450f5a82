"""Metrics of pictures and flows, protocols that fix how they are computed, and their tables."""
