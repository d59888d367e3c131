"""Adapter for AVS-BiGen (Hao et al., arXiv:2308.08288), which has TPAVI's call."""

from typing import Any

from coprop_plugin.adapters.calls import ModelCall
from coprop_plugin.adapters.tpavi.tpavi_backend import TPAVIBackend
from coprop_plugin.errors import AdapterError
from coprop_plugin.registry import MODELS


@MODELS.register_module(name=["AVSBiGenBackend", "avs_bigen"])
class AVSBiGenBackend(TPAVIBackend):
    """Backend for AVS-BiGen: `model(frames, audio_embedding, gt=None)`, with 4 results.

    They are `(logits, maps, audio, loss)`. Frames are compared with their neighbours in groups of
    five, so `"frame"` context tiles the keyframe. The projected audio is of a clip as a whole, not
    of its frames.

    Arguments and errors are those of `TPAVIBackend`.
    """

    family, own_model = "AVS-BiGen", None
    parts = ("tpavi_stages", "fusion_modules", "corr_atten")

    @staticmethod
    def _classes(network: Any) -> int:
        return 1

    def unpack(self, *args: Any, **kwargs: Any) -> ModelCall:
        """Return the clips of a call `(frames, audio_embedding)`.

        Raises:
            AdapterError: As `TPAVIBackend.unpack`; or if ground-truth masks are given.
        """
        frames, audio, *truth = self._bind(args, kwargs)
        if truth and truth[0] is not None:
            raise AdapterError(
                "A drop-in call of AVS-BiGen takes no ground-truth masks (`gt`), which are for its "
                "training loss. Leave them out, or call the model itself."
            )
        return super().unpack(frames, audio)

    def _rows_first(self, raw: Any, call: ModelCall | None = None) -> Any:
        logits, maps, sounds, loss = raw
        return logits, maps, [x.repeat_interleave(self.clip_length, 0) for x in sounds], loss

    def _restore(self, outputs: Any, call: ModelCall) -> Any:
        logits, maps, sounds, loss = outputs
        return logits, maps, [x[:: self.clip_length] for x in sounds], loss
