"""Scenes: pairs of cubes as they come, checked, cut to fit, fused with gaps kept; and pairs simulated from one cube."""
