"""A viewer of images in the browser: a server on this machine, and the page that it serves."""

from hyperfuse.runtime.optional import require

require("starlette", "the viewer")
require("uvicorn", "the viewer")
