"""Output video formats: container, codecs, audio handling."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

# Common frame rates and millisecond time stamps are (almost) whole numbers of this clock.
USUAL_CLOCK = Fraction(1, 90_000)

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
PCM_RATES = tuple(sorted({*AAC_RATES, 176_400, 192_000}))


@dataclass(frozen=True)
class VideoFormat:
    """A container with its codecs.

    Args:
        container: FFmpeg's name of the container.
        suffix: Suffix of file names.
        codec: Video codec.
        pixels: FFmpeg's name of the pixel format.
        options: Options of the video codec.
        sound: Audio codec for audio that is encoded.
        rates: Sample rates of the audio codec, rising.
        copied: Audio codecs whose packets can be copied, and which players support in this
            container.
        clock: Step of the time stamps in seconds.
        even: Whether height and width must be even.
        square: Whether pixels must be square: others are stretched in width.
    """

    container: str
    suffix: str
    codec: str
    pixels: str
    options: Mapping[str, str]
    sound: str
    rates: tuple[int, ...]
    copied: frozenset[str]
    clock: Fraction = USUAL_CLOCK
    even: bool = True
    square: bool = False

    @property
    def has_alpha(self) -> bool:
        """Whether pictures have an alpha channel: `[H, W, 4]`."""
        return self.pixels.startswith("yuva")

    def rate_for(self, sample_rate: int) -> int:
        """Return the sample rate to encode audio with: the next supported one."""
        return next((rate for rate in self.rates if rate >= sample_rate), self.rates[-1])


MP4 = VideoFormat(
    container="mp4",
    suffix=".mp4",
    codec="libx264",
    pixels="yuv420p",
    # Without B-frames: with them mp4 cannot store how long the last picture is shown. The same
    # pictures must give the same bytes: so in one thread (the default depends on the number of
    # cores), and without mbtree, which reads uninitialised memory.
    options={"crf": "20", "preset": "veryfast", "bf": "0", "threads": "1", "mbtree": "0"},
    sound="aac",
    rates=AAC_RATES,
    copied=frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}),
)
"""H.264 in 4:2:0; plays everywhere."""

OVERLAY = replace(MP4, options={**MP4.options, "crf": "21", "preset": "superfast"})
"""To look at: as sharp as `MP4`, in two thirds of the time, a tenth larger."""

PRORES_4444 = VideoFormat(
    container="mov",
    suffix=".mov",
    codec="prores_ks",
    pixels="yuva444p10le",
    options={"profile": "4444", "vendor": "apl0", "alpha_bits": "16"},
    sound="pcm_s16le",
    rates=PCM_RATES,
    copied=frozenset({"aac", "ac3", "alac", "mp3", "pcm_s16le", "pcm_s24le", "pcm_s16be"}),
    even=False,
)
"""For editing and compositing; large files."""

VP9_ALPHA = VideoFormat(
    container="webm",
    suffix=".webm",
    codec="libvpx-vp9",
    pixels="yuva420p",
    # Without alternate reference frames, which would lose their alpha.
    options={"crf": "20", "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "4"},
    sound="libopus",
    rates=OPUS_RATES,
    copied=frozenset({"opus", "vorbis"}),
    clock=Fraction(1, 1000),
    # VP9 does not store the shape of its pixels, and PyAV cannot set it in the container.
    square=True,
)
"""Transparent video for browsers; small files. Time stamps are whole milliseconds."""
