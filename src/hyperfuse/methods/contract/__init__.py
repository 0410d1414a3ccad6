"""What a fusion method is, and the table of those there are."""
