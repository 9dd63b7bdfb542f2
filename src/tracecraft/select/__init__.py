"""What to keep: measures, declared rules, best of n."""
