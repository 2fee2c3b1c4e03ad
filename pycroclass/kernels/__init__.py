"""Inner loops that PyTorch has no words for, or only with large temporaries: compiled for the CPU by Numba, each with a twin in PyTorch for
other devices."""
