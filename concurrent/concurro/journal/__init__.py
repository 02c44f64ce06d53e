"""Keeps systems on disk, so that they survive their master."""
