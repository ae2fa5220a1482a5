"""The verbs of an artifact that deploy nothing: what each is told, and what it does."""
