"""The bucket's own settings: what keeps objects when everything else fails."""
