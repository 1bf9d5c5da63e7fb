"""From what the formats read to the numbers that a researcher looks at."""
