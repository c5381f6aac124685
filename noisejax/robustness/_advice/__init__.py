"""Starting noises for a table, each with a measurement."""
