"""The blocks that web servers in front are configured with: one small file for each server.

Must not print a secret that is not asked for, nor a value that a server could read as more than a value.
"""
