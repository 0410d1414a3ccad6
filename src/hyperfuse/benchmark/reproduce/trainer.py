"""The process that trains one network: ``python -m hyperfuse.benchmark.reproduce.trainer``."""

from __future__ import annotations

from hyperfuse.benchmark.reproduce.experiment import serve_training

if __name__ == "__main__":
    serve_training()
