"""The lung_phantom dataset."""
