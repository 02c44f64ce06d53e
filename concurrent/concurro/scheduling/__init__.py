"""The master's decisions, pure.

What runs where, what is tried again, how systems live.
"""
