"""The field's public benchmarks: find one on disk, evaluate scores by its protocol, set them beside what others published."""
