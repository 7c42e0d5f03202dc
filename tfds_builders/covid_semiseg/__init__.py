"""The covid_semiseg dataset."""
