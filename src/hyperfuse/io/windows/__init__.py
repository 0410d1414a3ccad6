"""Reading and writing of images window by window."""
