"""What the tests of corruptions share: the size of their images, images as libraries have them, and a generator."""

import torch

SIDE = 48


def crops(photo):
    """Two crops, `[2, 3, 48, 48]` uint8."""
    return torch.stack([photo[:, 20 : 20 + SIDE, 60 : 60 + SIDE], photo[:, 90 : 90 + SIDE, 100 : 100 + SIDE]])


def rows(x):
    """As NumPy and the libraries have images, float64 `[B, H, W, 3]`."""
    return x.permute(0, 2, 3, 1).double().numpy()


def seeded():
    return torch.Generator().manual_seed(5)
