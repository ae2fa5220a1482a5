"""From an artifact to a destination: preflight, virtualenv, files, commit, and the comparison afterwards."""
