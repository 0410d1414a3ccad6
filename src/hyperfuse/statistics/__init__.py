"""Statistics that estimation and fusion share: noise, subspaces, folds, least squares, shrinkage."""
