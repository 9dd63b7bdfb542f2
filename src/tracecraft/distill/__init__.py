"""The teacher speaks: prompts, engines, and the stage that asks."""
