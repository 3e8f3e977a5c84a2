"""What the services share: the application, errors, logs, metrics, the registry's client, gunicorn's settings."""
