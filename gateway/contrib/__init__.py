"""What works with other packages, each in a module that is imported only where it is named.

Nothing outside may import from here: a project without the other package must not miss it.
"""
