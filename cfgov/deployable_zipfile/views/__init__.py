"""Shows what an artifact contains and what changed. Not packed into artifacts."""
