"""The slice_folder dataset."""
