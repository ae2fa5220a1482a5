"""The verbs of an artifact that deploy nothing: the options of each, and what it does."""
