"""Large pictures: one view of the centre against five views."""
