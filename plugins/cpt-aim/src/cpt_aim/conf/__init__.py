"""Recipe options: `logger=aim`."""
