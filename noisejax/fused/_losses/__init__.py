"""Cross entropies of targets that are soft, without rows of soft labels."""
