"""The wrapped model alone: run on every frame, without control points and propagation."""

from collections.abc import Iterator

from coprop_plugin.pipeline.backend_runner import BackendRunner
from coprop_plugin.pipeline.mask_logits import MaskLogits
from coprop_plugin.pipeline.on_cpu import on_cpu
from coprop_plugin.types import Clip, FrameResult, KeyframeBackend


def bare_frames(backend: KeyframeBackend, clip: Clip) -> Iterator[FrameResult]:
    """Yield what a backend says of each frame of a clip, in order; it runs a batch at a time.

    Args:
        backend: The model.
        clip: The clip.

    Raises:
        AdapterError: If its logits have another shape than `[K, num_classes, H, W]`.

    Example:
        >>> import torch
        >>> class Nothing:
        ...     num_classes = 1
        ...     def segment_keyframes(self, clip, indices):
        ...         return torch.full((len(indices), 1, *clip.size), -9.0)
        >>> clip = Clip(torch.rand(3, 3, 8, 8), torch.zeros(48_000))
        >>> [frame.is_keyframe for frame in bare_frames(Nothing(), clip)]
        [True, True, True]
    """
    runner, times = BackendRunner(backend), clip.times.tolist()
    size = runner.batch_size(clip)
    batches = (range(n, min(n + size, clip.num_frames)) for n in range(0, clip.num_frames, size))
    rows = (row for batch in batches for row in runner.logits(clip, list(batch)))
    return on_cpu(
        MaskLogits.of_keyframe(row).result(index, times[index], True, runner.class_names)
        for index, row in enumerate(rows)
    )
