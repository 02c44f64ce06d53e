"""Tests of Concurrent: unit, integration, system, contracts, layout, examples, docs."""
