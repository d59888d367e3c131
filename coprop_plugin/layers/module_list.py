"""`nn.ModuleList` with the type of its modules."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from torch import nn

Item = TypeVar("Item", bound=nn.Module)

if TYPE_CHECKING:

    class ModuleListOf(nn.ModuleList, Generic[Item]):
        """An `nn.ModuleList`, whose modules a type checker knows; annotate attributes with it."""

        def __init__(self, modules: Iterable[Item]) -> None: ...
        def __iter__(self) -> Iterator[Item]: ...
        @overload
        def __getitem__(self, idx: slice) -> "ModuleListOf[Item]": ...
        @overload
        def __getitem__(self, idx: int) -> Item: ...
        def __getitem__(self, idx: Any) -> Any: ...

else:
    ModuleListOf = nn.ModuleList
