"""What a training needs before it is started: memory by part, arithmetic, steps, hours."""
