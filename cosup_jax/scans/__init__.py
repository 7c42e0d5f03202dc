"""Everything that opens a file of a scanner or a picture, and knows how a volume lies."""
