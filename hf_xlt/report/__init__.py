"""Results as tables in the terminal and as an HTML page."""
