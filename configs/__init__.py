"""Configurations, one experiment a file; base.py holds every field."""

import sys

# Each file begins with `from configs import base`, in the wheel too, where this is another package.
sys.modules.setdefault("configs", sys.modules[__name__])
