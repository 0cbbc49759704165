"""A host project's app: models of its own that keep private files through the gateway."""
