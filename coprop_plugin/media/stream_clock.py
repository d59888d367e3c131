"""One rising clock for a stream whose time stamps may start again, as in joined files."""


class StreamClock:
    """The time of each piece of a stream, from its time stamp.

    Files that were joined by appending one to the other have time stamps that go back, and
    recordings have single wrong ones. A piece whose time stamp goes back, or too far ahead, follows
    its predecessor, and so do those after it, as in players; unless their time stamps continue
    those from before.

    Args:
        longest_jump_s: The largest plausible distance of consecutive pieces.
        overlap_s: How far a piece may go back without a correction.

    Example:
        >>> clock = StreamClock(longest_jump_s=60.0)
        >>> [clock.time_of(stamp_s, expected_s) for stamp_s, expected_s in [(1.5, 1.0), (0.0, 2.0)]]
        [1.5, 2.0]
        >>> clock.time_of(0.5, 2.5)
        2.5
    """

    def __init__(self, longest_jump_s: float, overlap_s: float = 0.0) -> None:
        self._longest_jump_s, self._overlap_s = longest_jump_s, overlap_s
        self._shift_s = self._earlier_shift_s = 0.0
        self._latest_s = float("-inf")
        self.num_corrections = 0

    def time_of(self, stamp_s: float, expected_s: float) -> float:
        """Return the time of the next piece.

        Args:
            stamp_s: Its time stamp.
            expected_s: Its time if it follows its predecessor immediately.
        """
        begins = self._latest_s == float("-inf")
        for shift_s in (self._earlier_shift_s, self._shift_s):
            time_s = stamp_s + shift_s
            rises = time_s + self._overlap_s > self._latest_s
            if begins or (rises and time_s <= self._latest_s + self._longest_jump_s):
                self._shift_s, self._latest_s = shift_s, time_s
                return time_s
        self.num_corrections += 1
        self._earlier_shift_s, self._shift_s = self._shift_s, expected_s - stamp_s
        self._latest_s = expected_s
        return expected_s
