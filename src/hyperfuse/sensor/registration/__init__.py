"""Registration of a pair beyond its metadata: a coarse search, tie points, and a dense field by the forward model."""
