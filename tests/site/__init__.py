"""Tests of the payload: they need requirements/deployment.txt installed beside pytest."""
