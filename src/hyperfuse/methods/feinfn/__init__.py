"""The default method: a linear part and FeINFN fitted to the pair itself."""
