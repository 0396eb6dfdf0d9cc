"""The studio: a local page over a store, to watch runs and to ask their models."""
