"""HF module -> [traced] graph: exported on the meta device, imported op by op, weights left as references."""
