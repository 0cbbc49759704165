"""Real servers that stand in for the clouds, started on loopback and gone when they are left.

Only ``fixtures`` knows pytest: the same classes serve the demo.
"""
