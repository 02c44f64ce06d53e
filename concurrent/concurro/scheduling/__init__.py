"""The master's decisions, pure: what runs where, what is tried again, how systems live."""
