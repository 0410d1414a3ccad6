"""Fusion methods without a network, one file per method."""
