"""The C++ driver of libg4rt, without sanitizers: its answers are Python's, and nothing that it tries is wrong."""

from __future__ import annotations

from tests.native.rt.driver import drive, expected, races


def test_the_driver_does_what_python_does(rt_built, g4ops_file, hearing, tmp_path):
    bundle = hearing("tiny-12b")
    found, said = drive(rt_built, bundle.folder, tmp_path / "scratch", ops=g4ops_file)
    assert found == expected(bundle)
    assert not said


_REPORT = """==================
WARNING: ThreadSanitizer: data race (pid=1)
  Write of size 8 at 0x7b0800080f60 by thread T9:
    #0 operator delete(void*, unsigned long) tsan_new_delete.cpp:150 (libtsan.so.2+0x86c3d)
    #1 <null> <null> ({first}+0x13d8241)

  Previous write of size 8 at 0x7b0800080f60 by main thread:
    #0 operator new(unsigned long) tsan_new_delete.cpp:64 (libtsan.so.2+0x87323)
    #1 <null> <null> ({second}+0x13d8284)
    #2 g4::rt::Graph::run() graph.cc:99 (libg4rt.so+0xdca49)

SUMMARY: ThreadSanitizer: data race tsan_new_delete.cpp:150 in operator delete(void*, unsigned long)
==================
"""


def test_reports_about_onnx_runtime_alone_are_left_out():
    theirs, ours = "libonnxruntime.so.1.32.0", "libg4rt.so"
    assert not races(_REPORT.format(first=theirs, second=theirs))
    for first, second in ((ours, theirs), (theirs, ours), (ours, ours)):
        assert len(races(_REPORT.format(first=first, second=second))) == 1
    assert len(races(_REPORT.format(first=theirs, second=theirs).replace("data race", "double lock"))) == 1
