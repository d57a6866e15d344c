"""Score any number of images: inputs listed once, rows on disk one by one, Parquet parts whole or absent, nothing done twice.

| module | does |
|---|---|
| `cluster` | the connection to a Ray cluster |
| `settings` | settings of a run, its shard of the inputs and the detector they ask for |
| `worklist` | the inputs of a run on disk, so that any part of them can be read again |
| `dedup_cache` | rows by the sha256 of the image's bytes, on disk |
| `score_samples` | samples in, rows out; equal bytes are scored once |
| `ray_engine`, `ray_worker` | the engine that scores on a Ray cluster: this process, and what runs in those of the cluster |
| `output` | parts, errors, manifest |
| `progress` | images done, images/s, time left |
| `run` | a run from its beginning, or from where it was killed, to its end, in this process or on a cluster |
"""
