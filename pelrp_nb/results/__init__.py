"""What comes out: explanations put together, named, read by words, saved and compared."""
