r"""From a language model's answer to control-point flags: exactly T of them, or an error.

An answer is read as the first of these forms that it contains. T is the number of frames in the
question, all of one length, usually one second.

| form | example, T = 5 | meaning |
| --- | --- | --- |
| list of T flags | `[1, 0, 0, 1, 0]` | 1: a new sound begins in the frame |
| ... in JSON, a code block, or prose | `{"control_points": [1, 0, 0, 1, 0]}` | the same |
| ... written otherwise | `[true, false, ...]`, `["1", "0", ...]`, `[1.0, 0.0, ...]` | the same |
| list of frames | `[0, 3]`, `[1, 4]` | control points; the first frame is always one, so a list that begins with 0 counts from 0, with 1 from 1 |
| list of times | `["0:00", "0:03"]`, `[0, 2.8]` | when a new sound begins, the first time 0 |
| every frame by number | `frame 1: 1, frame 2: 0, ...`, lines `1. 1`, `{"1": 1, ...}` | flags; counted from 0 or from 1, as the numbers say |
| ranges of time, one per line | `0:00-0:03 dog`, `0 to 2.8 s: dog` | what sounds from when until when; between the ranges it is silent |
| ranges of frames, one per line | `frames 1-3: dog`, `frames 4-5: girl` | ranges that cover every frame, both ends included, or half-open from 0 to T |
| ranges in JSON | `{"start": 0, "end": 2.8, "label": "dog"}`, in a list or one per line | the same, in seconds if a number has a decimal point or its key a unit (`start_s`, `start_time`) |
| times, one per line | `0:00 dog`, `0:03 girl` | each lasts until the next |
| flags without brackets | `1, 0, 0, 1, 0`, `10010` | flags |

Times and ranges become flags as everywhere in this library: a frame has the state that covers most
of it, and two lines with the same words are the same state. Text before `</think>` and before "final
answer" is ignored. The flag of the first frame is always 1, whatever the answer says. A list may be
repeated.

Everything else is an error: fewer or more flags, lists that differ, a list that only numbers the
frames, frames counted from 2 on, ranges beside other numbers, ranges of whole seconds with a second
missing between them (0-2, 3-4: is 2 to 3 silent, or are both ends included?), a refusal.
"""  # noqa: E501

from coprop_plugin.control_points.parsing.answers import flags_schema, parse_flags, quoted

__all__ = ["flags_schema", "parse_flags", "quoted"]
