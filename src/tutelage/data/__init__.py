"""Corpora, label schemes, splits, encoders: Arrow in, Arrow out."""
