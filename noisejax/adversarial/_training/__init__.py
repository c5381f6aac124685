"""Losses and train steps for adversarial training, and a guard against catastrophic overfitting."""
