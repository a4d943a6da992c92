"""Drawn images of texture, and their gradient by NumPy."""

import numpy as np
import torch


def drawn(height=48, width=64, noise=6.0, seed=0):
    """Two textured halves with an edge between them: uint8 [3, H, W], and the edge as people would draw it."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.full((height, width), 70.0)
    image[:, width // 2 :] = 180
    image = image + noise * torch.randn(3, height, width, generator=generator)
    boundary = torch.zeros(height, width, dtype=torch.uint8)
    boundary[:, width // 2] = 255
    boundary[: height // 3, width // 2 + 1] = 128
    return image.round().clamp(0, 255).byte(), boundary


def luma(image):
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def norm(plane):
    right, below = np.zeros_like(plane), np.zeros_like(plane)
    right[:, :-1] = plane[:, 1:] - plane[:, :-1]
    below[:-1] = plane[1:] - plane[:-1]
    return np.sqrt(right**2 + below**2)
