"""Search over all public pages."""
