"""How values and metadata are coded in files, whatever the format."""
