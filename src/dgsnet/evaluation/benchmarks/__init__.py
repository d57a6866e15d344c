"""The field's public benchmarks: find one on disk, judge scores by its protocol, set them beside what others published."""
