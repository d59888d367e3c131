"""The kinds of video that are written: where from pictures go, and what becomes of the sound."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

# Every usual frame rate and millisecond time stamps are whole numbers of this clock, or nearly.
USUAL_CLOCK = Fraction(1, 90_000)

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
PCM_RATES = tuple(sorted({*AAC_RATES, 176_400, 192_000}))


@dataclass(frozen=True)
class VideoFormat:
    """A container with its codecs.

    Args:
        container: FFmpeg's name of it.
        suffix: Of file names.
        codec: Of the pictures.
        pixels: FFmpeg's name for how they are stored.
        options: Of that codec.
        sound: The codec that sound is encoded with.
        rates: Sample rates of that codec, rising.
        copied: Codecs of sound that the container holds as they are, and players find there.
        clock: Step of the time stamps in seconds.
        even: Whether height and width must be even.
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

    @property
    def has_alpha(self) -> bool:
        """Whether pictures are `[H, W, 4]`, with how opaque a pixel is."""
        return self.pixels.startswith("yuva")

    def rate_for(self, sample_rate: int) -> int:
        """Return the sample rate to encode sound at: the next one that there is."""
        return next((rate for rate in self.rates if rate >= sample_rate), self.rates[-1])


MP4 = VideoFormat(
    container="mp4",
    suffix=".mp4",
    codec="libx264",
    pixels="yuv420p",
    # Without B-frames: with them mp4 cannot say how long the last picture is shown. In one thread:
    # other numbers of them give other bytes, and by default it is that of the processor's cores.
    # Without mbtree, which reads memory that nobody has written: the same pictures would give other
    # bytes in a process that did other things before.
    options={"crf": "20", "preset": "veryfast", "bf": "0", "threads": "1", "mbtree": "0"},
    sound="aac",
    rates=AAC_RATES,
    copied=frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}),
)
"""H.264 in 4:2:0, which plays everywhere."""

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
"""What editors cut and composite with; large."""

VP9_ALPHA = VideoFormat(
    container="webm",
    suffix=".webm",
    codec="libvpx-vp9",
    pixels="yuva420p",
    # Without frames out of order, whose alpha would be lost.
    options={"crf": "20", "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "4"},
    sound="libopus",
    rates=OPUS_RATES,
    copied=frozenset({"opus", "vorbis"}),
    clock=Fraction(1, 1000),
)
"""What browsers show see-through; small. Time stamps are whole milliseconds."""
