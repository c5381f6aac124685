"""Attacks: one driver of optax transforms, the attacks built on it, and attacks with custom loops."""
