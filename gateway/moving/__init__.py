"""Moves objects from one storage to another: copied, verified, recorded, and only then forgotten where they were.

Must not sign, must not overwrite, and deletes nothing that any row may still mean.
"""
