"""Settings: ``base`` is the same everywhere, ``production`` reads the environment, ``test`` is for the test suite."""
