"""Cubes: an image of many bands with its metadata, and the conventions that metadata travel in."""
