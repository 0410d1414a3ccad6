"""Products of satellites as their providers deliver them; a file a product."""

from hyperfuse.io.products.registry import PRODUCTS, Product, find_product

__all__ = ["PRODUCTS", "Product", "find_product"]
