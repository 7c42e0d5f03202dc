"""The covid_chestct dataset."""
