"""HTTP application factory, problem details and health."""
