"""The second edition of `dgsnet-b16`: which head, of which tokens, from which copies of the images."""
