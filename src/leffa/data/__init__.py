"""Data sets: what each holds on disk, and the batches that models are trained and scored on."""
