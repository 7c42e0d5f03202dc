"""Training: state, step, devices, checkpoints and the loop."""
