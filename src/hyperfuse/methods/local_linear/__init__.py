"""Local linear models of an HSI from an MSI, and what several methods are made of."""
