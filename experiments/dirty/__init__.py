"""Training with noise against no noise on really dirty rows, with four references for every set."""
