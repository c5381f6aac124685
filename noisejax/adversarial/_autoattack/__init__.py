"""Attacks on whole data sets, which stop at the first success and check their own results."""
