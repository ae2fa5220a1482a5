"""Programs behind the sessions of ``noxfile.py``. Only the release tools import the package: to read artifacts."""
