"""The mosmed_covid19 dataset."""
