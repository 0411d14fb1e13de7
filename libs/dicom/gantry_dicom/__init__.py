"""DICOM as pure functions and values: no I/O."""
