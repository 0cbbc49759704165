"""The JSON API: parses what is asked, hands it to the door, renders the answer; ``mount.api_urls`` mounts it.

Must not decide or sign.
"""
