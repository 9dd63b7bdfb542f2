"""The door: commands, and how results are shown."""
