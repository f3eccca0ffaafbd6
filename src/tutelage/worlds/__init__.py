"""Small procedural worlds, where no data set ships: seeded, documented, drawn in the docs.

Every world has `batch(n, generator) -> dict` of tensors: options are in the constructor, all randomness is in the generator.
What a model must not see lies under the key `truth`. `card()` says what is random and why the structure matters.
"""
