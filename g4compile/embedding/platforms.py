"""What a project of each platform is made of, beside its templates and the bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """``libraries``: the project has libg4rt, and what it loads, built for this machine. ``sources``: where in the
    project the sources of the libraries stand; empty where it has none. ``not_run``: what was never tried, for the
    user."""

    name: str
    libraries: bool = False
    sources: str = ""
    not_run: str = ""


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("linux", libraries=True),
        Platform(
            "android",
            sources="native",
            not_run="the project was never built with the Android NDK and Gradle; its sources compile for arm64 Linux",
        ),
        Platform(
            "ios",
            sources="native",
            not_run="the project was never built with Xcode; its C++ sources compile for macOS on arm64",
        ),
    )
}
