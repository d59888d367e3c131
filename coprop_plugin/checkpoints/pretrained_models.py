"""The pretrained models that parts load by name: where they are, what they cost, their licences."""

from dataclasses import dataclass
from pathlib import Path

from coprop_plugin.errors import UnknownNameError, did_you_mean


@dataclass(frozen=True)
class PretrainedModel:
    """A model of other authors on the Hugging Face hub.

    Args:
        name: Short name, as options take it.
        checkpoint: Its id on the hub.
        title: What its authors call it.
        uses: What it does here.
        licence: Of its weights; an SPDX name where there is one.
        size_mb: Size of the download in 10^6 bytes.
        gated: Whether its licence must be accepted on its page before it can be downloaded.

    Example:
        >>> str(pretrained_model("sam2"))
        'SAM 2.1 tiny (facebook/sam2.1-hiera-tiny): 156 MB, Apache-2.0'
    """

    name: str
    checkpoint: str
    title: str
    uses: str
    licence: str
    size_mb: int
    gated: bool = False

    @property
    def page(self) -> str:
        """Its page on the hub."""
        return f"https://huggingface.co/{self.checkpoint}"

    def __str__(self) -> str:
        gate = ", to be accepted on its page" if self.gated else ""
        return f"{self.title} ({self.checkpoint}): {size_text(self.size_mb)}, {self.licence}{gate}"


_MASKS = "propagator; masks of boxes"
_FRAMES = "names what sounds, and when: `sed`"

PRETRAINED_MODELS: tuple[PretrainedModel, ...] = (
    PretrainedModel(
        "sam2", "facebook/sam2.1-hiera-tiny", "SAM 2.1 tiny", _MASKS, "Apache-2.0", 156
    ),
    PretrainedModel(
        "sam2_small", "facebook/sam2.1-hiera-small", "SAM 2.1 small", _MASKS, "Apache-2.0", 184
    ),
    PretrainedModel(
        "sam2_base_plus",
        "facebook/sam2.1-hiera-base-plus",
        "SAM 2.1 base+",
        _MASKS,
        "Apache-2.0",
        324,
    ),
    PretrainedModel(
        "sam2_large", "facebook/sam2.1-hiera-large", "SAM 2.1 large", _MASKS, "Apache-2.0", 898
    ),
    PretrainedModel(
        "sam3",
        "facebook/sam3",
        "SAM 3",
        "propagator; masks of phrases",
        "SAM License",
        3440,
        gated=True,
    ),
    PretrainedModel("edgetam", "yonigozlan/EdgeTAM-hf", "EdgeTAM", "propagator", "Apache-2.0", 56),
    PretrainedModel(
        "owlv2",
        "google/owlv2-base-patch16-ensemble",
        "OWLv2 base",
        "boxes of phrases",
        "Apache-2.0",
        620,
    ),
    PretrainedModel(
        "grounding_dino",
        "IDEA-Research/grounding-dino-tiny",
        "Grounding DINO tiny",
        "boxes of phrases",
        "Apache-2.0",
        689,
    ),
    PretrainedModel(
        "clipseg",
        "CIDAS/clipseg-rd64-refined",
        "CLIPSeg",
        "masks of phrases",
        "Apache-2.0",
        603,
    ),
    PretrainedModel(
        "ast",
        "MIT/ast-finetuned-audioset-10-10-0.4593",
        "AST, 527 sounds of AudioSet",
        _FRAMES,
        "BSD-3-Clause",
        346,
    ),
    PretrainedModel(
        "clap",
        "laion/clap-htsat-unfused",
        "CLAP",
        "compares sounds with each other and with phrases: `clap`",
        "Apache-2.0",
        615,
    ),
    PretrainedModel(
        "pe_a_frame", "facebook/pe-a-frame-small", "PE-A-Frame small", _FRAMES, "Apache-2.0", 1800
    ),
    PretrainedModel(
        "pe_a_frame_base",
        "facebook/pe-a-frame-base",
        "PE-A-Frame base",
        _FRAMES,
        "Apache-2.0",
        2240,
    ),
    PretrainedModel(
        "pe_a_frame_large",
        "facebook/pe-a-frame-large",
        "PE-A-Frame large",
        _FRAMES,
        "Apache-2.0",
        5600,
    ),
    PretrainedModel(
        "clip",
        "openai/clip-vit-base-patch32",
        "CLIP ViT-B/32",
        "embeds words for text-guided models",
        "MIT",
        605,
    ),
    PretrainedModel(
        "qwen2_audio",
        "Qwen/Qwen2-Audio-7B-Instruct",
        "Qwen2-Audio 7B",
        "language model that hears: `rcpg`",
        "Apache-2.0",
        16800,
    ),
)
"""The models, by what they are used for. Sizes are those of their pages, or 4 bytes a parameter."""


def list_pretrained() -> list[str]:
    """Return the short names of the pretrained models.

    Example:
        >>> {"sam2", "owlv2", "ast"} <= set(list_pretrained())
        True
    """
    return [model.name for model in PRETRAINED_MODELS]


def find_pretrained(source: str | Path) -> PretrainedModel | None:
    """Return the model of a short name or of an id on the hub; None for any other source.

    Example:
        >>> find_pretrained("facebook/sam3").name, find_pretrained("me/mine")
        ('sam3', None)
    """
    for model in PRETRAINED_MODELS:
        if source in (model.name, model.checkpoint):
            return model
    return None


def pretrained_model(source: str | Path) -> PretrainedModel:
    """Return the model of a short name or of an id on the hub.

    Raises:
        UnknownNameError: If there is none; the message lists the names.

    Example:
        >>> pretrained_model("owlv2").checkpoint
        'google/owlv2-base-patch16-ensemble'
    """
    model = find_pretrained(source)
    if model is None:
        raise UnknownNameError(
            f"{str(source)!r} is not the name of a pretrained model."
            f"{did_you_mean(str(source), list_pretrained())} Expected an id on the hub "
            f"('owner/name'), or one of: {', '.join(list_pretrained())}."
        )
    return model


def checkpoint_of(source: str | Path) -> str:
    """Return the id on the hub of a short name; folders and other ids as they are.

    Example:
        >>> checkpoint_of("sam2_large"), checkpoint_of("me/mine")
        ('facebook/sam2.1-hiera-large', 'me/mine')
    """
    model = find_pretrained(source)
    return str(source) if model is None or Path(source).is_dir() else model.checkpoint


def size_text(size_mb: float) -> str:
    """Return a size in 10^6 bytes for people.

    Example:
        >>> size_text(156), size_text(3440)
        ('156 MB', '3.4 GB')
    """
    return f"{size_mb:.0f} MB" if size_mb < 1000 else f"{size_mb / 1000:.1f} GB"
