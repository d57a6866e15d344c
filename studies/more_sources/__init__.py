"""More photo sources and more generators: their worth, and the shipped head that is fitted with them."""
