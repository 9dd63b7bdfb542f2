"""One branch, one domain: examples that pass the parity gate, and the trainers they go to."""
