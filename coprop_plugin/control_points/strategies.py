"""Control points from an audio language model: the three strategies of Table 2 (b)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coprop_plugin.control_points.language.base import Log, Strategy
from coprop_plugin.control_points.language.conversation import Conversation
from coprop_plugin.control_points.language.examples import Example
from coprop_plugin.control_points.llm.resolve import LLMSource
from coprop_plugin.control_points.prompts import DEFAULT
from coprop_plugin.control_points.resolve import ProviderSource
from coprop_plugin.control_points.retrieval import Query, Store
from coprop_plugin.errors import ControlPointError
from coprop_plugin.registry import PROVIDERS
from coprop_plugin.types import Clip


@PROVIDERS.register_module(name=["OneStepProvider", "one_step"])
class OneStepProvider(Strategy):
    """Control points from one question to a language model: 1-Step of Table 2 (b).

    As in all three strategies, the audio is divided evenly into frames of about a second, in
    windows that the model takes, and the model is asked for one flag per frame. If an answer cannot
    be read (see `parsing`), the question is repeated once; then the fallback provider is used for
    that window, which `source` and the log record. Changes are moved from whole seconds to the
    moment within half a second at which the audio changes. If the clip has more frames than the
    question, changes are snapped to the frames at these moments; else the frames are those of the
    answer, and `starts_s` holds the moments.

    The log holds the model and its settings, the version of the prompts, and for each window every
    question with its raw answer and the flags read from it. Errors of the client are not caught.

    Args:
        llm: An `AudioLLM`, its registered name, its config, or a function `(messages, waveform,
            sample_rate) -> str`.
        prompts: `"paper-1"`, or a folder with your own texts; see `Prompts`.
        fallback: Provider for windows whose answer cannot be read, and for clips without a
            waveform: what `wrap(control_points=...)` takes. None: these are errors.
        refine: Whether to move changes to the moments at which the audio changes; else they stay
            on whole seconds.
        window_s: How much audio the model gets at once, at most as much as it takes. None: as much
            as it takes.
        overlap_s: Overlap of two windows, at most half of one.

    Raises:
        UnknownNameError: If a name is not registered.
        ControlPointError: If there are no such prompts, or the seconds are out of range.

    Example:
        >>> import torch
        >>> clip = Clip(torch.rand(5, 3, 8, 8), torch.rand(80_000), sampling="avsbench")
        >>> provider = OneStepProvider(lambda messages, waveform, rate: "[1, 0, 0, 1, 0]")
        >>> provider.propose(clip)
        ControlPoints([0, 3], num_frames=5, source='one_step')
    """

    name = "one_step"

    def converse(self, conversation: Conversation, query: Any, record: Log) -> list[int]:
        """Ask for the list."""
        return conversation.ask_for_flags("one_step_list")


@PROVIDERS.register_module(name=["ThreeStepProvider", "three_step"])
class ThreeStepProvider(Strategy):
    """Control points from a conversation of three questions: 3-Step of Table 2 (b).

    What sounds, how many categories there are, then the list. Arguments, errors and the log are
    those of `OneStepProvider`.
    """

    name = "three_step"

    def converse(self, conversation: Conversation, query: Any, record: Log) -> list[int]:
        """Ask three questions."""
        return _three_steps(conversation)


def _three_steps(conversation: Conversation) -> list[int]:
    conversation.ask("three_step_describe")
    conversation.ask("three_step_categories")
    return conversation.ask_for_flags("three_step_list")


@PROVIDERS.register_module(name=["RCPGProvider", "rcpg"])
class RCPGProvider(Strategy):
    """Retrieval-augmented Control Points Generation, section 3.2 and algorithm 1 of the paper.

    One conversation: describe the audio (Q1), name its categories (Q2), and, given annotated
    examples of the same categories, return the list. In the log of each window, `eq_4` has q, D_q
    and how D_q was found; `eq_5` the question with D_q, and the flags.

    With an empty store it asks the questions of `three_step`, and the log has a note.

    Args:
        llm: As in `OneStepProvider`.
        store: Annotated examples: a `Store`, or its file.
        k: Maximum number of examples in the question.
        prompts: As in `OneStepProvider`.
        fallback: As in `OneStepProvider`.
        refine: As in `OneStepProvider`.
        window_s: As in `OneStepProvider`.
        overlap_s: As in `OneStepProvider`.

    Raises:
        ControlPointError: If the store cannot be read, k is below 1, or as in `OneStepProvider`.
    """

    name = "rcpg"

    def __init__(
        self,
        llm: LLMSource,
        store: Store | str | Path | None = None,
        *,
        k: int = 3,
        prompts: str | Path = DEFAULT,
        fallback: ProviderSource | None = "novelty",
        refine: bool = True,
        window_s: float | None = 30.0,
        overlap_s: float = 5.0,
    ) -> None:
        super().__init__(
            llm,
            prompts=prompts,
            fallback=fallback,
            refine=refine,
            window_s=window_s,
            overlap_s=overlap_s,
        )
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ControlPointError(f"Expected a number of examples, 1 or more, got k={k!r}.")
        self.k = k
        self.store = store if isinstance(store, Store) else Store.load(store) if store else Store()

    @property
    def settings(self) -> dict[str, Any]:
        """What the flags depend on besides the audio and the model, as JSON."""
        return super().settings | {"k": self.k, "store": self.store.version}

    def query(self, clip: Clip) -> Query:
        """Return what identifies the clip among the examples."""
        return Query.of(clip)

    def converse(self, conversation: Conversation, query: Query, record: Log) -> list[int]:
        """Ask three questions, the last one with examples."""
        if not len(self.store):
            record["note"] = "The store is empty: the questions are those of three_step."
            return _three_steps(conversation)
        conversation.ask("rcpg_describe")
        answer = conversation.ask("rcpg_categories")
        part = query.part(conversation.waveform, conversation.sample_rate)
        found = self.store.retrieve(answer, part, self.k)
        record["eq_4"] = found.to_dict()
        flags = conversation.ask_for_flags("rcpg_list", self._text(found.examples))
        record["eq_5"] = {
            "D_q": [example.id for example in found.examples],
            "x": self.prompts.text("rcpg_list", conversation.num_frames),
            "flags": flags,
        }
        return flags

    def _text(self, examples: Sequence[Example]) -> str:
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
