"""Adapters for programs of others, one module each; none is imported unless it is asked for."""
