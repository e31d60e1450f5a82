"""The synthetic data set: persons and garments with exact labels and ground-truth flow."""
