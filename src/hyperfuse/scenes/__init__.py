"""Scenes: pairs of images, matched, fused whole or in tiles with gaps kept; and pairs simulated from one image."""
