"""Training: from a configuration to a best epoch."""
