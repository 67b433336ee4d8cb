"""Text as tables: what libg4rt reads of a bundle's tokenizer, made when the bundle is."""
