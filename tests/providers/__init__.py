"""Proofs of the signers: tables of bad input, botocore as an oracle, an independent verifier as the judge."""
