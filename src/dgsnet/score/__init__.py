"""Score any number of images: inputs listed once, rows on disk one by one, Parquet parts whole or absent, nothing done twice.

| module | does |
|---|---|
| `worklist` | the inputs of a run on disk, so that any part of them can be read again |
| `shards` | which inputs belong to which process of an array |
| `operator` | samples in, rows out; equal bytes are scored once |
| `known` | what was said of which bytes, on disk |
| `local` | the engine that scores in this process |
| `ray_engine`, `ray_worker` | the engine that scores on a Ray cluster: this process, and what runs in those of the cluster |
| `cluster` | the connection to a Ray cluster |
| `output` | parts, errors, manifest |
| `run` | a run from its beginning, or from where it was killed, to its end |
"""
