"""Views that misbehave on purpose, for end-to-end tests. Switched on only by CFGOV_TEST_VIEWS=1."""
