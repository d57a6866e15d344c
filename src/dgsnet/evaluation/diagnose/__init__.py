"""How much of the frozen CLIP survives fine-tuning: the tuned tower against the frozen one, on the same views of the same images."""
