"""What noise on signals is good for: spoken digits, sensors that drift, and a machine with faulty sensors."""
