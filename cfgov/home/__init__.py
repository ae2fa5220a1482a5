"""Page types of the site and the demonstration content."""
