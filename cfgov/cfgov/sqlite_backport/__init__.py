"""Database backend: SQLite with the two options of Django 5.1, for the Django 4.2 that Python 3.8 gets."""
