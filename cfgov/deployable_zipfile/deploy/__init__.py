"""From a destination to a live site: releases, steps, restart, health check, and going back."""
