"""Fuzzing: any bytes at all give sound values or one clear line. Properties for pytest, the same ones for `python -m tests.fuzz`.

A target is a function of bytes that returns when its promise holds and raises when it does not. `test_properties` tries each on
mutations of small valid inputs with hypothesis; `__main__` drives it with atheris, which follows the coverage, for as long
as one likes. What that finds is mended and becomes an example of `test_found`.
"""
