"""What a program needs of its machine: errors, locks, signals, cores. Torch-free but for environment."""
