"""pelrp_nb."""
