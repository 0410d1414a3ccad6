"""Statistics for estimation and fusion: noise, subspaces, folds, least squares, shrinkage."""
