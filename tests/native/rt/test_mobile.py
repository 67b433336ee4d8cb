"""What Android asks of a library, on the build for arm64: its pages, its C library, and a small file."""

from __future__ import annotations

import re

import pytest

from tests.native.building import output

LIBRARIES = ("libg4rt.so", "libg4ops.so")
PAGE = 16 * 1024  # of newer devices
MOST_BYTES = 1_500_000  # of both, stripped, the C++ library in each
# What we call of the C library, all of which bionic has at API 26 (its libc.map.txt, libm.map.txt and libdl.map.txt).
_CALLED = """
calloc chmod close closedir cos dladdr dlerror dlopen dlsym expf fclose fgets flock fopen free fstat fsync getauxval
getenv geteuid getpid ldexp llround llroundf log log10 lstat memchr memcmp memcpy memmove memset mkdir mmap munmap
open opendir pow read pthread_mutex_lock pthread_mutex_trylock pthread_mutex_unlock readdir realpath rename rmdir sin
sincos snprintf sqrt sqrtf sscanf stat strcmp strerror strlen strtod strtol strtoll time uname unlink vsnprintf write
"""
BIONIC = frozenset(_CALLED.split())
# glibc's headers have other names for what bionic has too.
RENAMED = {
    "__isoc99_sscanf": "sscanf",
    "__isoc23_sscanf": "sscanf",
    "__isoc23_strtol": "strtol",
    "__isoc23_strtoll": "strtoll",
}
# Of the compiler and of the C++ library, which Android's own tools bring: C++ names, exceptions, atomics.
TOOLS = re.compile(r"_Z|__cxa_|__gxx_|_Unwind_|__aarch64_|__dso_handle$|_GLOBAL_OFFSET_TABLE_$|__libc_single_threaded$")
ERRNO = "__errno_location"  # errno is a macro: of bionic it calls __errno


def symbols(folder, *options):
    """Names that objects of both libraries have."""
    objects = [
        str(file) for name in ("g4rt*", "g4ops", "g4kernels") for file in folder.glob(f"CMakeFiles/{name}.dir/**/*.o")
    ]
    assert len(objects) > 60
    return set(output("aarch64-linux-gnu-nm", "--format=just-symbols", *options, *objects).split()) - set(objects)


def test_no_function_is_of_glibc_alone(arm64):
    missing = symbols(arm64, "--undefined-only") - symbols(arm64, "--defined-only")
    called = {RENAMED.get(name, name) for name in missing if not TOOLS.match(name)} - {ERRNO}
    assert {"mmap", "memcpy"} < called
    assert sorted(called - BIONIC) == []


def test_the_check_knows_what_is_of_glibc_alone():
    for name in ("qsort_r", "secure_getenv", "__memcpy_chk", "strfromd"):
        assert name not in BIONIC and not TOOLS.match(name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_segments_begin_on_pages_of_16_kb(arm64, library):
    lines = output("aarch64-linux-gnu-readelf", "-lW", str(arm64 / library)).splitlines()
    aligned = [int(line.split()[-1], 16) for line in lines if line.split()[:1] == ["LOAD"]]
    assert len(aligned) >= 2 and all(one % PAGE == 0 for one in aligned)


def test_the_libraries_are_small_and_need_the_c_library_alone(arm64, tmp_path):
    total = 0
    for library in LIBRARIES:
        stripped = tmp_path / library
        output("aarch64-linux-gnu-strip", "-o", str(stripped), str(arm64 / library))
        total += stripped.stat().st_size
        needed = re.findall(r"NEEDED.*\[(.*)\]", output("aarch64-linux-gnu-readelf", "-dW", str(stripped)))
        assert set(needed) <= {"libc.so.6", "libm.so.6", "ld-linux-aarch64.so.1"}
    assert total <= MOST_BYTES
