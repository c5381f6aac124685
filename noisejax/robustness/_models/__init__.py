"""A small network for tables, trained with any noise; at a fixed level, or at one that adapts."""
