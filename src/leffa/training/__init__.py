"""Training: stages, the objective, the LightningModule, and exact resume."""
