"""Positions of images that do not lie on a grid: lookup tables, and latitude and longitude of each pixel."""
