"""The HTML report of a fusion."""
