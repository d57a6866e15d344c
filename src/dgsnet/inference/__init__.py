"""From a picture to a verdict, and verdicts into files."""
