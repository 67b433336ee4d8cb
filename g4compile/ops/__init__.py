"""The ops of ours, `g4.*`: what a node means. One file per op, named as the op; `registry.py` finds them."""
