"""Runs launch specs: plain data in, watched processes of the local machine out."""
