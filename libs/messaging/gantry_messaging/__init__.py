"""Index stream, event stream, outbox relay and the Celery application."""
