"""What starts the service: HTTP, and the commands of an operator."""
