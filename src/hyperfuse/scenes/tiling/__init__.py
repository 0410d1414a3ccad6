"""Scenes cut into tiles, run by processes of this machine or of a cluster, and blended."""
