"""The contract of every runtime, in any language: the manifest, the files it names, and the steps between a stored
weight and a bound one."""
