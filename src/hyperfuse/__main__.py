"""``python -m hyperfuse`` is the command ``hyperfuse``."""

from __future__ import annotations

import sys

from hyperfuse.cli import main

if __name__ == "__main__":
    sys.exit(main())
