"""A conversation with a language model about one window of audio, and its record for the log."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from coprop_plugin.control_points.parsing import flags_schema, parse_flags
from coprop_plugin.control_points.prompts import PromptName, Prompts
from coprop_plugin.errors import ControlPointParseError
from coprop_plugin.types import AudioLLM


class Conversation:
    """Questions about one window of audio, each asked with all messages before it.

    Args:
        llm: The language model.
        prompts: The wording of the questions.
        waveform: `[samples]`, the window.
        sample_rate: In Hz.
        num_frames: Number of frames into which the window is divided.

    Attributes:
        record: Questions, answers, and the flags read from them, for the log.
    """

    def __init__(
        self, llm: AudioLLM, prompts: Prompts, waveform: Tensor, sample_rate: int, num_frames: int
    ) -> None:
        self.llm, self.prompts = llm, prompts
        self.waveform, self.sample_rate = waveform, sample_rate
        self.num_frames = num_frames
        self.messages: list[dict[str, str]] = []
        self.record: list[dict[str, Any]] = []

    def ask(self, prompt: PromptName) -> str:
        """Ask the question of a prompt's text; returns the answer."""
        return self._ask(prompt, self.prompts.text(prompt, self.num_frames))

    def ask_for_flags(self, prompt: PromptName, before: str = "") -> list[int]:
        """Ask for one flag per frame: Eq. (5). Asks a second time if the answer cannot be read.

        Args:
            prompt: x, the name of its text.
            before: D_q, the text before it in the same message.

        Raises:
            ControlPointParseError: If the second answer cannot be read either.
        """
        question = "\n\n".join(filter(None, [before, self.prompts.text(prompt, self.num_frames)]))
        schema = flags_schema(self.num_frames)
        answer = self._ask(prompt, question, schema)
        try:
            return self._flags(answer)
        except ControlPointParseError as error:
            reason = str(error.__cause__)
        repair = self.prompts.text("repair", self.num_frames, reason=reason)
        return self._flags(self._ask("repair", repair, schema))

    def _flags(self, answer: str) -> list[int]:
        frame_s = len(self.waveform) / self.sample_rate / self.num_frames
        try:
            flags = parse_flags(answer, self.num_frames, frame_s)
        except ControlPointParseError as error:
            self.record[-1]["unread"] = str(error.__cause__)
            raise
        self.record[-1]["flags"] = flags
        return flags

    def _ask(
        self, prompt: PromptName, question: str, schema: Mapping[str, Any] | None = None
    ) -> str:
        self.messages.append({"role": "user", "content": question})
        answer = self.llm.chat(self.messages, self.waveform, self.sample_rate, schema=schema)
        self.messages.append({"role": "assistant", "content": answer})
        self.record.append({"prompt": prompt, "question": question, "answer": answer})
        return answer
