"""Ours without one of its defaults, to see what that costs. Only for measuring."""
