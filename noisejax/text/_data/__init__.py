"""Tables of keys, glyphs and misspellings, and where they come from."""
