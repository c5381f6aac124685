"""Attacks: one driver of optax transforms, the attacks built on it, and those with a loop of their own."""
