"""What a compile would give, from `config.json` alone: bytes, memory, KV, operations, and the speed that follows."""
