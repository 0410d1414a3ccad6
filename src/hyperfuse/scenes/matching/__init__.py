"""One grid for a pair: ratio, phase and extent from headers, registration from the images."""
