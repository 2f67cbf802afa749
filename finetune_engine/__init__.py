"""The workshop: a spec goes in, events come out.

Plain Python, without Django, Celery or Redis. Everything here runs from a shell on a bare machine
(``python -m finetune_engine --help``) and knows nothing of users, rows or queues.
"""

__version__ = "0.1.0"
