"""The build side: what makes an artifact. Nothing in this folder travels inside one."""
