"""libg4rt, built once a run."""

from tests.native.rt.conftest import rt, rt_built  # noqa: F401, fixtures
