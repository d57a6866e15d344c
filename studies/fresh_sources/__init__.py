"""The shipped model on sources that were gathered after it."""
