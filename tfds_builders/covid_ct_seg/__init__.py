"""The covid_ct_seg dataset."""
