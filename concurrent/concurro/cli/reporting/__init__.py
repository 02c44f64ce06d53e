"""Reports on the course of a system: a page, and a trace."""
