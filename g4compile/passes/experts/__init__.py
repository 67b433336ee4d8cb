"""Forms that `lower-moe-to-gather-scatter` gives the experts: one file each."""
