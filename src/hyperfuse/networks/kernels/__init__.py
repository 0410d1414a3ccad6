"""Fast paths of the networks' layers; the plain path of each is its oracle."""
