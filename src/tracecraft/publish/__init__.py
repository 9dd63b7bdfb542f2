"""Let others have it: finished datasets, cards, reports, uploads."""
