"""Cold studies in other stores, and back."""
