"""A network fitted to held-out pixels of one pair, or of samples of a scene."""
