"""The volume_folder dataset."""
