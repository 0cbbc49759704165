"""The standalone service's settings: what Django needs to run the gateway by itself.

Must not import anything of the project: dotted paths only.
"""
