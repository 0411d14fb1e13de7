"""DIMSE for modalities."""
