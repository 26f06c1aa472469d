"""What all downloads of a node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peershare.content.chunks import CHUNK_COUNT
from peershare.dictionary import ContentDictionary, Found
from peershare.download.dialling import Dialler
from peershare.errors import AmbiguousNameError
from peershare.ledger import Ledger
from peershare.status import NoticeKind

if TYPE_CHECKING:
    from peershare.download.content import ContentDownload


_NOBODY = Found(extension="", sources=((),) * CHUNK_COUNT)


@dataclass(frozen=True)
class DownloadContext:
    """The reactor, who is out there, how to reach them, and whom to tell."""

    reactor: Any
    dictionary: ContentDictionary
    dialler: Dialler
    ledger: Ledger
    tell: Callable[[ContentDownload, NoticeKind, str, str, str], None]  # chunk, peer, text
    changed: Callable[[ContentDownload], None]
    received: Callable[[ContentDownload, str, int], None]  # address, bytes

    def find(self, name: str) -> tuple[Found, str]:
        """Who has what of a content; a name that is ambiguous finds nobody, and says why."""
        try:
            return self.dictionary.lookup(name, self.reactor.seconds()), ""
        except AmbiguousNameError as ambiguous:
            return _NOBODY, str(ambiguous)
