"""What stands in front of every reader: files that nobody vouches for become bytes, text and values, or an error."""
