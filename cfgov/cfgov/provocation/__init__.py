"""Views that misbehave on purpose, for end-to-end tests. Switched on by CFGOV_TEST_VIEWS=1 alone."""
