"""Training: fitting networks."""
