"""The uestc_covid19 dataset."""
