"""Which features, head settings and views generalise to sources that a probe was not trained on."""
