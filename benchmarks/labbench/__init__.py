"""Measures the server beside the barest program that does the same."""
