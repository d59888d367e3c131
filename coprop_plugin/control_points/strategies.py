"""Control points from a language model that listens: the three ways of Table 2 (b), registered."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.control_points.language.base import Log, Strategy
from coprop_plugin.control_points.language.conversation import Conversation
from coprop_plugin.control_points.language.examples import Example
from coprop_plugin.control_points.retrieval import Query, Store
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import AudioLLM, Clip


@PROVIDERS.register_module(name=["OneStepProvider", "one_step"])
class OneStepProvider(Strategy):
    """Asks a language model for the list of control points at once: 1-Step of Table 2 (b).

    As for all three strategies: the sound is divided evenly into frames of about a second, in
    windows that the model takes, and the model is asked for one flag a frame. An answer that cannot
    be read (see `parsing`) is asked for once more; then the fallback answers for that window, and
    `source` and the log say so. Changes are moved from whole seconds to the moment within half a
    second at which they are heard. Where the clip has more frames than were asked about, they are
    snapped to those; elsewhere the frames are those of the answer, and `starts_s` has the moments.

    The log holds the model and its settings, the version of the prompts, and for each window every
    question with its raw answer and the flags read from it. Errors of the client are not caught.

    Args:
        llm: An `AudioLLM`, its registered name, its config, or a function `(messages, waveform,
            sample_rate) -> str`.
        prompts: `"paper-1"`, or a folder with texts of your own; see `Prompts`.
        fallback: Who answers where the model's answer cannot be read, or a clip has no waveform to
            ask about: what `wrap(control_points=...)` takes. None: that is an error.
        refine: Whether to move changes; else they stay on the seconds asked about.
        window_s: How much sound the model hears at once; less if it takes less. None: all it takes.
        overlap_s: What two windows have in common, at most half of one.

    Raises:
        UnknownNameError: If a name is not registered.
        ControlPointError: If there are no such prompts, or the seconds make no sense.

    Example:
        >>> import torch
        >>> clip = Clip(torch.rand(5, 3, 8, 8), torch.rand(80_000), sampling="avsbench")
        >>> provider = OneStepProvider(lambda messages, waveform, rate: "[1, 0, 0, 1, 0]")
        >>> provider.propose(clip)
        ControlPoints([0, 3], num_frames=5, source='one_step')
    """

    name = "one_step"

    def converse(self, conversation: Conversation, about: Any, record: Log) -> list[int]:
        """Ask for the list."""
        return conversation.ask_for_flags("one_step_list")


@PROVIDERS.register_module(name=["ThreeStepProvider", "three_step"])
class ThreeStepProvider(Strategy):
    """Asks what sounds, how many categories there are, then for the list: 3-Step of Table 2 (b).

    One conversation; arguments, errors and the log are those of `OneStepProvider`.
    """

    name = "three_step"

    def converse(self, conversation: Conversation, about: Any, record: Log) -> list[int]:
        """Ask three questions."""
        return _three_steps(conversation)


def _three_steps(conversation: Conversation) -> list[int]:
    conversation.ask("three_step_describe")
    conversation.ask("three_step_categories")
    return conversation.ask_for_flags("three_step_list")


@PROVIDERS.register_module(name=["RCPGProvider", "rcpg"])
class RCPGProvider(Strategy):
    """Retrieval-augmented Control Points Generation, section 3.2 and algorithm 1 of the paper.

    One conversation: describe the sound (Q1), name its categories (Q2), and, shown annotated sounds
    of the same categories, give the list. In the log of each window, `eq_4` has q and D_q, and how
    D_q was found; `eq_5` what was asked with it, and the flags.

    Without examples to search in, it asks as `three_step` does, and says so in the log.

    Args:
        llm: As in `OneStepProvider`, like all that is not below.
        store: Annotated sounds: a `Store`, or its file.
        k: How many examples are shown at most.
        **options: See `OneStepProvider`.

    Raises:
        ControlPointError: If the store cannot be read, or k is below 1.
    """

    name = "rcpg"

    def __init__(
        self,
        llm: AudioLLM | Callable[..., str] | str | Mapping[str, Any],
        store: Store | str | Path | None = None,
        *,
        k: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(llm, **options)
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ControlPointError(f"Got k={k!r}; wanted how many examples to show, 1 or more.")
        self.k = k
        self.store = store if isinstance(store, Store) else Store.load(store) if store else Store()

    @property
    def settings(self) -> dict[str, Any]:
        """What the flags depend on beside the sound and the model, as JSON."""
        return super().settings | {"k": self.k, "store": self.store.version}

    def about(self, clip: Clip) -> Query:
        """Return by what the clip itself is told from other examples."""
        return Query.of(clip)

    def converse(self, conversation: Conversation, about: Query, record: Log) -> list[int]:
        """Ask three questions, the last one with examples."""
        if not len(self.store):
            record["note"] = "The store is empty: asked as three_step does."
            return _three_steps(conversation)
        conversation.ask("rcpg_describe")
        answer = conversation.ask("rcpg_categories")
        query = about.about(conversation.waveform, conversation.sample_rate)
        found = self.store.retrieve(answer, query, self.k)
        record["eq_4"] = found.to_dict()
        flags = conversation.ask_for_flags("rcpg_list", self._shown(found.examples))
        record["eq_5"] = {
            "D_q": [example.id for example in found.examples],
            "x": self.prompts.text("rcpg_list", conversation.num_frames),
            "flags": flags,
        }
        return flags

    def _shown(self, examples: Sequence[Example]) -> str:
        """Return D_q as text."""
        lines = [
            self.prompts.text(
                "rcpg_example",
                len(example.control_points),
                categories=" and ".join(example.categories) or "unknown",
                flags=str(list(example.control_points)),
            )
            for example in examples
        ]
        return self.prompts.text("rcpg_examples", examples="\n".join(lines)) if lines else ""
