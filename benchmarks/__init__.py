"""Measure a deployment side by side with other installers, in one run, as ratios that anyone can repeat."""
