"""Independent judges of what the signers make.

They are written from the clouds' specifications and must share nothing with what they judge.
"""
