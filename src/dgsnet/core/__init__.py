"""Foundation of every other package: typed errors, atomic files, the cache folder, an append-only log, prefetching, number formats."""
