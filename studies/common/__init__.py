"""What several studies share. Studies import this package and dgsnet, never one another."""
