"""Workloads side by side with their peers and limits: `python -m benchmarks --list`."""
