"""What an artifact is, for both sides: names, manifest, strict readers of the container and of wheels."""
