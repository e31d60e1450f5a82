"""Lightning callbacks: checkpoints, running average, health, images, report."""
