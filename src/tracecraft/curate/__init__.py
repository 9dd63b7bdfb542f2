"""Which problems: sources, normalisation, near-duplicates, benchmark leaks."""
