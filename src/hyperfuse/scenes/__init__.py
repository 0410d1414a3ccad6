"""Scenes: pairs of cubes as they come, checked, cut to fit, fused with gaps kept; and pairs simulated from one cube."""

# Here, where nothing heavy loads, so that the command line can show it in its help.
DEFAULT_METHOD = "feinfn"
