"""The audit, before and after aligning, on collections with known flaws."""
