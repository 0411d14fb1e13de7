"""Pixels: frames, codecs and rendering."""
