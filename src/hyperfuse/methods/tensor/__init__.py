"""What methods of low-rank tensors are made of: a Sylvester solver, shrinkage of singular values, patch clusters."""
