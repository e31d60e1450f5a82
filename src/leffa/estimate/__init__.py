"""Estimates a training in advance: memory by part, operations, steps, hours."""
