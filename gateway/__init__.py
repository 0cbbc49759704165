"""Who may have which URL, and for how long: a Django app over the signers of ``providers``.

Must never import the standalone service's settings.
"""

__version__ = "0.1.0"
