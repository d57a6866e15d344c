"""What everything else stands on: typed errors, atomic files, the cache folder, an append-only log, prefetching, number formats."""
