"""Outputs with a background channel, as logits of this library and back.

Models of masks and classes (Mask2Former) give a class the sum of its queries' masks: a score, not
a logit. And binary models of that kind have two channels, of which the higher one is taken.
"""

import torch
from torch import Tensor

# Scores below are the same: none.
_LEAST_SCORE = 1e-30


def logits_of_channels(channels: Tensor) -> Tensor:
    """Return the logits of an output with a background channel, `[N, C, h, w]`.

    Two channels become one, whose sigmoid is the second one's softmax; more stay as they are.

    Example:
        >>> logits_of_channels(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1)).item()
        2.0
    """
    return channels[:, 1:] - channels[:, :1] if channels.shape[1] == 2 else channels


def channels_of_logits(logits: Tensor) -> Tensor:
    """Undo `logits_of_channels`, up to a number that is the same in all channels.

    Example:
        >>> channels_of_logits(torch.tensor(2.0).reshape(1, 1, 1, 1)).flatten().tolist()
        [-1.0, 1.0]
    """
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def logits_of_scores(scores: Tensor) -> Tensor:
    """Return logits whose probabilities are the shares of scores `[N, C, h, w]`, all >= 0.

    Example:
        >>> logits_of_scores(torch.tensor([0.1, 0.3]).reshape(1, 2, 1, 1)).sigmoid()
        tensor([[[[0.7500]]]])
    """
    return logits_of_channels(scores.clamp_min(_LEAST_SCORE).log())


def scores_of_logits(logits: Tensor) -> Tensor:
    """Undo `logits_of_scores`; the scores of a pixel sum to 1.

    Example:
        >>> scores_of_logits(torch.zeros(1, 1, 1, 1)).flatten().tolist()
        [0.5, 0.5]
    """
    return channels_of_logits(logits).softmax(1)
