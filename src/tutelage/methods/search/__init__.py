"""Search: which network should learn from a teacher, found without training all of them."""
