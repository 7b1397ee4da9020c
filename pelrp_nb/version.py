"""The version of this package, for those of its files that write it down."""

__version__ = "0.2.0"
