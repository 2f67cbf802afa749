"""Telling others that a job has ended: signed webhooks to programs, e-mail to people.

Both go through an outbox: the row that tells of a job is written in the transaction that ends it (``outbox.tell``),
and ``postman`` sends it afterwards until it is taken. A message may come twice after a crash, with the same id; it never
gets lost.
"""
