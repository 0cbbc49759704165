"""How bytes reach whoever holds a link, and how a permalink becomes one; one small file for each way.

Must not decide: a link was decided when it was issued, and a permalink asks the door.
"""
