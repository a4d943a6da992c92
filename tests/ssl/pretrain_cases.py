"""The pretraining command, which lies in no package."""

from probe_cases import script

pretrain = script("pretrain")
