"""The build side. Nothing in this folder is packed into an artifact."""
