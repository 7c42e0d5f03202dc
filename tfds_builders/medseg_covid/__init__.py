"""The medseg_covid dataset."""
