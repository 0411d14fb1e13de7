"""Index stream, event stream, outbox relay and the Celery application.

Redis is a hint, never a truth: whatever it loses, the journal in the object store still
has, and whatever it says is verified against a seal before it is believed.
"""
