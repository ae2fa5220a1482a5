"""GitHub in small: what `nox -s rehearse` puts in the place of its actions, its programs, its API and its registry."""
