"""DICOMweb for viewers and AI."""
