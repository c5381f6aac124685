"""Policies of augmentation: random operations on each picture, as AugMix and RandAugment choose them."""
