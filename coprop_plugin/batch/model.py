"""The wrapped model that a command line asks for."""

import os
from pathlib import Path

import torch

from coprop_plugin.loading import load_backend, load_provider, read_choice
from coprop_plugin.pipeline import CoProp
from coprop_plugin.wrapping import wrap


def make_model(
    backend: str,
    weights: str | Path | None = None,
    control_points: str = "novelty",
    propagator: str | None = None,
    device: str | None = None,
    reanchor: str | None = None,
    keyframe: str = "first",
    segment_batch: int = 1,
    number: int = 0,
) -> CoProp:
    """Make the wrapped model that a command line asks for.

    Args:
        backend: See `load_backend`.
        weights: Of the backend.
        control_points: See `load_provider`.
        propagator: As for `wrap`.
        device: Where to compute; by default on a GPU if there is any, models in turn on each.
        reanchor: As for `wrap`, see `read_choice`.
        keyframe: As for `wrap`, see `read_choice`.
        segment_batch: As for `wrap`.
        number: Which of several models on this machine it is.

    Raises:
        CopropError: If any part is not to be had.
    """
    made, adapter = load_backend(backend, weights)
    device = device or _default_device(number)
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    return wrap(
        made,
        backend=adapter,
        control_points=load_provider(control_points),
        propagator=propagator,
        device=device,
        reanchor=None if reanchor is None else read_choice(reanchor, "--reanchor"),
        keyframe=read_choice(keyframe, "--keyframe"),
        segment_batch=segment_batch,
    )


def _default_device(number: int) -> str:
    if not torch.cuda.is_available():
        return "cpu"
    # torchrun and srun number the processes on each machine.
    local_rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    return f"cuda:{(int(local_rank) + number) % torch.cuda.device_count()}"
