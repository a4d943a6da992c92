"""Small networks of the papers."""

from torch import nn


class SixLayer(nn.Module):
    pass


class ContextFree(nn.Module):
    pass
