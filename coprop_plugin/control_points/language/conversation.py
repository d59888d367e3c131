"""A conversation with a language model about one stretch of sound, and its record."""

from typing import Any

from torch import Tensor

from coprop_plugin.control_points.parsing import flags_schema, parse_flags
from coprop_plugin.control_points.prompts import Prompts
from coprop_plugin.errors import ControlPointParseError
from coprop_plugin.types import AudioLLM


class Conversation:
    """Questions about one stretch of sound, each asked with all that was said before.

    Args:
        llm: Who answers.
        prompts: In which words it is asked.
        waveform: `[samples]`, the stretch.
        sample_rate: In Hz.
        num_frames: Into how many frames the stretch is divided.

    Attributes:
        record: What was asked and answered, and what was made of it, for the log.
    """

    def __init__(
        self, llm: AudioLLM, prompts: Prompts, waveform: Tensor, sample_rate: int, num_frames: int
    ) -> None:
        self.llm, self.prompts = llm, prompts
        self.waveform, self.sample_rate = waveform, sample_rate
        self.num_frames = num_frames
        self.messages: list[dict[str, str]] = []
        self.record: list[dict[str, Any]] = []

    def ask(self, prompt: str, **options: Any) -> str:
        """Ask a question that is a prompt's text, without blanks."""
        return self._ask(prompt, self.prompts.text(prompt, self.num_frames), **options)

    def ask_for_flags(self, prompt: str, before: str = "") -> list[int]:
        """Ask for one flag a frame: Eq. (5). Asks a second time if the answer cannot be read.

        Args:
            prompt: x, the name of its text.
            before: D_q, what is said in the same message before it.

        Raises:
            ControlPointParseError: If the second answer cannot be read either.
        """
        question = "\n\n".join(filter(None, [before, self.prompts.text(prompt, self.num_frames)]))
        schema = flags_schema(self.num_frames)
        answer = self._ask(prompt, question, schema=schema)
        try:
            return self._flags(answer)
        except ControlPointParseError as error:
            reason = str(error.__cause__)
        repair = self.prompts.text("repair", self.num_frames, reason=reason)
        return self._flags(self._ask("repair", repair, schema=schema))

    def _flags(self, answer: str) -> list[int]:
        frame_s = len(self.waveform) / self.sample_rate / self.num_frames
        try:
            flags = parse_flags(answer, self.num_frames, frame_s)
        except ControlPointParseError as error:
            self.record[-1]["unread"] = str(error.__cause__)
            raise
        self.record[-1]["flags"] = flags
        return flags

    def _ask(self, prompt: str, question: str, **options: Any) -> str:
        self.messages.append({"role": "user", "content": question})
        answer = self.llm.chat(self.messages, self.waveform, self.sample_rate, **options)
        self.messages.append({"role": "assistant", "content": answer})
        self.record.append({"prompt": prompt, "question": question, "answer": answer})
        return answer
