"""Measures the gateway beside its peers in one run: ratios, never deadlines."""
