"""Lowerings that target families share."""
