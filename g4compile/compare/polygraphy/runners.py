"""Runners of whole conversations. Opened when polygraphy activates them, and dropped when it is done.

Source: polygraphy, `polygraphy/backend/base/runner.py`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import numpy as np
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.logger import G_LOGGER

from g4compile.errors import G4Error

Array = np.ndarray[Any, Any]
_TOLD = (G4Error, OSError, ImportError)  # what a user can mend, a package that is missing too: no traceback


class Runner(BaseRunner):  # type: ignore[misc]  # polygraphy is not typed
    """``folder``: a bundle or a checkpoint; ``checkpoint``: where engines find their weights."""

    prefix = ""

    def __init__(self, folder: str, checkpoint: str | None = None, name: str | None = None) -> None:
        super().__init__(name=name, prefix=self.prefix)
        self._folder, self._checkpoint = folder, checkpoint

    def open(self) -> tuple[Any, dict[str, Any]]:
        """Who answers, and what its `forward` is told beside the ids."""
        raise NotImplementedError

    def activate_impl(self) -> None:
        try:
            self._session, self._options = self.open()
        except _TOLD as error:  # said as polygraphy says what is wrong
            G_LOGGER.critical(str(error))

    def deactivate_impl(self) -> None:
        del self._session

    def get_input_metadata_impl(self) -> Any:
        return TensorMetadata().add("input_ids", np.int64, (None, None))

    def infer_impl(self, feed_dict: dict[str, Array]) -> OrderedDict[str, Array]:
        self._session.reset()
        start = time.perf_counter()
        try:
            logits = self._session.forward(np.asarray(feed_dict["input_ids"], np.int64), **self._options)
        except G4Error as error:  # ids that the model does not have, or too many
            G_LOGGER.critical(str(error))
        self.inference_time = time.perf_counter() - start
        return OrderedDict(logits=logits)


class HfRunner(Runner):
    """The Hugging Face module, eager, in float32. ``weights_of``: a bundle, whose codes it holds dequantised."""

    prefix = "g4-hf"

    def __init__(self, folder: str, weights_of: str | None = None, name: str | None = None) -> None:
        super().__init__(folder, name=name)
        self._weights_of = weights_of

    def open(self) -> tuple[Any, dict[str, Any]]:
        from g4compile.bundle.folder import Bundle
        from g4compile.compare.dequantized import dequantized
        from g4compile.compare.reference import Reference

        weights = () if self._weights_of is None else dequantized(Bundle.open(self._weights_of))
        return Reference(self._folder, weights), {}


class SessionRunner(Runner):
    """A bundle on this machine: ONNX Runtime's on its CPU; that of a GPU, or engines, where there is one."""

    prefix = "g4-session"

    def open(self) -> tuple[Any, dict[str, Any]]:
        from g4compile.runtime.session import load

        return load(self._folder, checkpoint=self._checkpoint), {"all_positions": True}

    def deactivate_impl(self) -> None:
        self._session.close()
        super().deactivate_impl()


class NetworkRunner(Runner):
    """The networks of an engine bundle, emitted again and interpreted on the CPU in float32; no engine runs."""

    prefix, rounded = "g4-network", False

    def open(self) -> tuple[Any, dict[str, Any]]:
        from g4compile.bundle.folder import Bundle
        from g4compile.targets import target_named

        bundle = Bundle.open(self._folder)
        found = target_named(bundle.manifest.target).candidates(bundle, self._checkpoint or self._folder)
        return (found.rounded if self.rounded else found.session), {"all_positions": True}


class RoundedNetworkRunner(NetworkRunner):
    """As `NetworkRunner`, every value rounded to the type that the network declares."""

    prefix, rounded = "g4-rounded-network", True
