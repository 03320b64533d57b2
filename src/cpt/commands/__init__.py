"""What each verb does with its parsed arguments: calls `cpt.api`, prints. A verb imports what it needs, so that help comes at once."""
