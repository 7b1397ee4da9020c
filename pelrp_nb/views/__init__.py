"""What people look at: plain data in; a page, a live widget, text or a figure out.  No view knows torch."""

from .routes_page import heads, routes
from .sheets import compare, explained, image, inspector, xray
from .sheet import Sheet

__all__ = ["Sheet", "compare", "explained", "heads", "image", "inspector", "routes", "xray"]
