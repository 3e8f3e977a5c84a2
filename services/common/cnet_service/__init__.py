"""Shared code of the services: the application, errors, logs, metrics, the registry's client, gunicorn's settings."""
