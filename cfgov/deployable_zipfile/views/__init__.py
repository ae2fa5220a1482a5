"""What people look at before a release: what an artifact holds, and what changed. Stays at home."""
