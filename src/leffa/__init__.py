"""Leffa: learning flow fields in attention, for virtual try-on and pose transfer (arXiv
2412.08486)."""

__version__ = "0.1.0"
