"""One answer, as it is made: its tokens, and how long they took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError

_READ_AS = {"video": "image"}  # the modality whose encoder makes its features


class Timed:
    """Gives ``tokens`` on, and keeps them. Seconds count from the making of this object.

    ``first_s``: until the first token. ``decode_tokens_per_second``: of the tokens after the first; 0 without any.
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        self._tokens, self._start = tokens, time.perf_counter()
        self.token_ids: list[int] = []
        self.first_s = self.last_s = 0.0

    def __iter__(self) -> Iterator[int]:
        for token in self._tokens:
            self.last_s = time.perf_counter() - self._start
            self.first_s = self.first_s or self.last_s
            self.token_ids.append(token)
            yield token

    @property
    def decode_tokens_per_second(self) -> float:
        seconds = self.last_s - self.first_s
        return (len(self.token_ids) - 1) / seconds if seconds > 0 else 0.0


def check_takes(bundle: Bundle, *kinds: str) -> None:
    """Raise InputError for one of ``kinds`` (image, video, audio) that ``bundle`` was not compiled for."""
    for kind in kinds:
        modality = _READ_AS.get(kind, kind)
        if modality not in bundle.manifest.modalities:
            asked = ",".join((*bundle.manifest.modalities, modality))
            raise InputError(
                f"this bundle takes no {kind}",
                why=f"it was compiled for {', '.join(bundle.manifest.modalities)}",
                fix=f"if the checkpoint has {modality}: g4compile compile CHECKPOINT --target {bundle.manifest.target} "
                f"--modalities {asked} -o BUNDLE",
            )
