"""What is read from a sweep: intervals, comparisons, tables, pictures and files."""
