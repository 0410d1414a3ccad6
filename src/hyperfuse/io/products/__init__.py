"""Satellite products as their providers deliver them, one module per product family."""

from hyperfuse.io.products.registry import PRODUCTS, Product, find_product

__all__ = ["PRODUCTS", "Product", "find_product"]
