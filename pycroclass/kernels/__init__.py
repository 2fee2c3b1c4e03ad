"""Inner loops that PyTorch has no words for: compiled for the CPU by Numba, each with a twin in PyTorch for other devices."""
