"""The cosup_covid dataset."""
