"""Schema revisions: ``sql/NNNN_name.sql`` says what, ``versions/NNNN_name.py`` puts it in order."""
