"""The command line: reads a table, measures a model, tunes a noise, or shows what a noise does."""
