"""Lightning callbacks: checkpoints, running average, health, pictures, report."""
