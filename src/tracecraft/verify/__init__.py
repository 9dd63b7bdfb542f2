"""Is it right: verifiers, and the stage that runs one."""
