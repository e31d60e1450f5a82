"""The synthetic dataset: persons and garments with exact labels and ground-truth flow."""
