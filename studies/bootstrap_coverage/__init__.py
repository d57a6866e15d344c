"""How often bootstrap intervals hold the truth."""
