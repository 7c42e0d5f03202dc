"""Configurations, one experiment a file; base.py holds every field."""
