"""Graphs: features of nodes, and which groups of them are about to form."""
