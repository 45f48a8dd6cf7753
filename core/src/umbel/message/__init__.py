"""A call becomes a task message of Celery's protocol 2, and a message becomes a request again."""
