"""Recipe options that this package adds."""
