"""Programs behind the sessions of ``noxfile.py``. They import nothing of the package; each runs alone."""
